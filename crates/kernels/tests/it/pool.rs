use proptest::prelude::*;
use regulus_kernels::pool::{Pool, average, global_average, global_max, max};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

/// The numbers of each window of each channel that are not around it, row by row.
fn windows(pool: Pool, images: &[f32]) -> Vec<Vec<f32>> {
    let [rows, columns] = pool.sides();
    let inside = |index: usize, axis: usize, side: usize| index.checked_sub(pool.padding[axis]).filter(|index| *index < side);
    let mut windows = Vec::new();
    for channel in images.chunks(pool.height * pool.width) {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let down = (0..pool.kernel[0]).filter_map(|y| inside(row * pool.stride[0] + y, 0, pool.height));
            let right = || (0..pool.kernel[1]).filter_map(|x| inside(column * pool.stride[1] + x, 1, pool.width));
            windows.push(down.flat_map(|y| right().map(move |x| channel[y * pool.width + x])).collect());
        }
    }
    windows
}

fn pools() -> impl Strategy<Value = Pool> {
    let axis = || (1..40_usize, 1..6_usize, 1..4_usize, 0..4_usize);
    (axis(), axis()).prop_filter_map("windows that fit", |(rows, columns)| {
        let fits = |(side, kernel, _, padding): (usize, usize, usize, usize)| kernel <= side + 2 * padding && padding <= kernel / 2;
        (fits(rows) && fits(columns)).then_some(Pool {
            height: rows.0,
            width: columns.0,
            kernel: [rows.1, columns.1],
            stride: [rows.2, columns.2],
            padding: [rows.3, columns.3],
        })
    })
}

fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().copied().fold(f32::NEG_INFINITY, |all, number| if number > all || number.is_nan() { number } else { all })
}

proptest! {
    #[test]
    fn every_window_is_pooled_as_by_hand(pool in pools(), channels in 1..20_usize, has_nan: bool) {
        let mut images = numbers(4, channels * pool.height * pool.width);
        if has_nan {
            images[0] = f32::NAN;
        }
        let windows = windows(pool, &images);
        let largest: Vec<f32> = windows.iter().map(|window| largest(window)).collect();
        let size = (pool.kernel[0] * pool.kernel[1]) as f32;
        let means: Vec<f32> = windows.iter().map(|window| window.iter().fold(0.0, |sum, number| sum + number) / size).collect();
        for path in Path::all() {
            for threads in [1, 2] {
                prop_assert_eq!(bits(&max(path, pool, &images, threads)), bits(&largest));
                prop_assert_eq!(bits(&average(path, pool, &images, threads)), bits(&means));
            }
        }
    }

    #[test]
    fn whole_channels_are_pooled_as_by_hand(positions in 1..50_usize, channels in 1..40_usize) {
        let images = numbers(5, channels * positions);
        let all = |of: fn(&[f32]) -> f32| bits(&images.chunks(positions).map(of).collect::<Vec<f32>>());
        for threads in [1, 2] {
            prop_assert_eq!(bits(&global_max(&images, positions, threads)), all(largest));
            let mean = |channel: &[f32]| channel.iter().fold(0.0, |sum, number| sum + number) / channel.len() as f32;
            prop_assert_eq!(bits(&global_average(&images, positions, threads)), all(mean));
        }
    }
}
