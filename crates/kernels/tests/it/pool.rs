use proptest::prelude::*;
use regulus_kernels::pool::{Kind, Pool, backward, forward};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

/// The numbers of each window of each channel that are not around it, row by row, and where they are. Images are channels-last.
fn windows(pool: Pool, images: &[f32]) -> Vec<Vec<(usize, f32)>> {
    let [rows, columns] = pool.sides();
    let inside = |index: usize, axis: usize, side: usize| index.checked_sub(pool.padding[axis]).filter(|index| *index < side);
    let mut windows = Vec::new();
    let size = pool.height * pool.width * pool.channels;
    for image in 0..images.len() / size {
        let places = (0..rows).flat_map(|row| (0..columns).flat_map(move |column| (0..pool.channels).map(move |c| (row, column, c))));
        for (row, column, channel) in places {
            let place = |y: usize, x: usize| image * size + (y * pool.width + x) * pool.channels + channel;
            let down = (0..pool.kernel[0]).filter_map(|y| inside(row * pool.stride[0] + y, 0, pool.height));
            let right = || (0..pool.kernel[1]).filter_map(|x| inside(column * pool.stride[1] + x, 1, pool.width));
            windows.push(down.flat_map(|y| right().map(move |x| (place(y, x), images[place(y, x)]))).collect());
        }
    }
    windows
}

fn pools() -> impl Strategy<Value = Pool> {
    let axis = || (1..20_usize, 1..6_usize, 1..4_usize, 0..4_usize);
    (1..20_usize, axis(), axis()).prop_filter_map("windows that fit", |(channels, rows, columns)| {
        let fits = |(side, kernel, _, padding): (usize, usize, usize, usize)| kernel <= side + 2 * padding && padding <= kernel / 2;
        (fits(rows) && fits(columns)).then_some(Pool {
            kind: Kind::Max,
            channels,
            height: rows.0,
            width: columns.0,
            kernel: [rows.1, columns.1],
            stride: [rows.2, columns.2],
            padding: [rows.3, columns.3],
        })
    })
}

fn largest(window: &[(usize, f32)]) -> (usize, f32) {
    let first = (0, f32::NEG_INFINITY);
    window.iter().copied().fold(first, |all, number| if number.1 > all.1 || number.1.is_nan() && !all.1.is_nan() { number } else { all })
}

proptest! {
    #[test]
    fn every_window_is_pooled_as_by_hand(pool in pools(), batch in 1..3_usize, has_nan: bool) {
        regulus_kernels::buffers::fill_with_nan();
        let mut images = numbers(4, batch * pool.channels * pool.height * pool.width);
        if has_nan {
            images[0] = f32::NAN;
        }
        let average = Pool { kind: Kind::Average, ..pool };
        let windows = windows(pool, &images);
        let largest: Vec<(usize, f32)> = windows.iter().map(|window| largest(window)).collect();
        let maxima: Vec<f32> = largest.iter().map(|(_, number)| *number).collect();
        let size = (pool.kernel[0] * pool.kernel[1]) as f32;
        let means: Vec<f32> = windows.iter().map(|window| window.iter().fold(0.0, |sum, (_, number)| sum + number) / size).collect();
        let gradient = numbers(5, windows.len());
        let (mut of_max, mut of_average) = (vec![0.0; images.len()], vec![0.0; images.len()]);
        for ((window, (place, _)), slope) in windows.iter().zip(&largest).zip(&gradient) {
            of_max[*place] += slope;
            window.iter().for_each(|(place, _)| of_average[*place] += slope / size);
        }
        for path in Path::all() {
            for threads in [1, 2] {
                prop_assert_eq!(bits(&forward(path, pool, &images, threads)), bits(&maxima));
                prop_assert_eq!(bits(&forward(path, average, &images, threads)), bits(&means));
                prop_assert_eq!(bits(&backward(path, average, &images, &gradient, threads)), bits(&of_average));
                if !has_nan {
                    prop_assert_eq!(backward(path, pool, &images, &gradient, threads), of_max.clone());
                }
            }
        }
    }
}
