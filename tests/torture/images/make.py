import random, pathlib
from PIL import Image
out = pathlib.Path('/tmp/wt/tests/tests/torture/images')
r = random.Random(5)
def noise(mode, w, h):
    n = {'L':1,'RGB':3,'RGBA':4}[mode]
    # smooth-ish blobs, so that files stay small and every row differs
    im = Image.frombytes(mode, (w, h), bytes(r.randrange(256) for _ in range(w*h*n)))
    return im
g = noise('L', 20, 24); c = noise('RGB', 18, 20); a = noise('RGBA', 12, 14)
g.save(out/'grey.png'); a.save(out/'alpha.png'); c.quantize(16).save(out/'palette.png')
noise('L', 12, 12).convert('1').save(out/'bits.png')
c.save(out/'baseline.jpg', quality=80); c.save(out/'progressive.jpg', quality=80, progressive=True); g.save(out/'grey.jpg', quality=90)
c.save(out/'restart.jpg', quality=80, restart_marker_blocks=2)
c.quantize(32).save(out/'still.gif')
c.quantize(16).save(out/'moving.gif', save_all=True, append_images=[noise('RGB',18,20).quantize(16)])
noise('RGB',12,12).save(out/'colour.bmp'); g.save(out/'grey.bmp'); 
noise('RGB',10,12).save(out/'raw.tiff', compression=None); noise('RGB',10,12).save(out/'lzw.tiff', compression='tiff_lzw'); noise('RGB',10,12).save(out/'deflate.tiff', compression='tiff_adobe_deflate'); noise('L',12,12).save(out/'packbits.tiff', compression='packbits')
c.save(out/'lossy.webp', quality=80); noise('RGB',12,12).save(out/'lossless.webp', lossless=True); a.save(out/'alpha.webp', quality=70)
g.save(out/'grey.pgm'); noise('RGB',12,12).save(out/'colour.ppm'); noise('L',20,20).convert('1').save(out/'bits.pbm')
