//! Looking at images: what they are, how large, and small.

use NoPicture::Unusable;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use membox_threads::budget::{self, OverBudget};
use std::io::Cursor;
use std::time::Duration;

/// Width and height that a thumbnail fits.
const SMALL: u32 = 200;
/// Width and height of the largest image.
const MAX_PIXELS_A_SIDE: u32 = 16_384;
/// Memory that decoding may take: 64 million pixels in four colours.
const MAX_DECODED_BYTES: u64 = 256 << 20;

/// How long an image waits until others have been looked at.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Picture {
    pub content_type: &'static str,
    pub width: u32,
    pub height: u32,
    /// What fits [`SMALL`], upright, without what a camera wrote beside it: a PNG where it lets something through,
    /// else a JPEG.
    pub small: Vec<u8>,
}

/// Why an image is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPicture {
    /// What is wrong with it.
    #[error("{0}")]
    Unusable(String),
    /// There is no memory to look at it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

/// Looks at an image. Those of all requests share the memory that requests may have.
pub(super) fn look_at(bytes: &[u8]) -> Result<Picture, NoPicture> {
    let known = "it is no image that is known here: PNG, JPEG, GIF, WebP";
    let format = image::guess_format(bytes).map_err(|_| Unusable(known.to_owned()))?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_PIXELS_A_SIDE), Some(MAX_PIXELS_A_SIDE));
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let cannot = |error: image::ImageError| Unusable(format!("it cannot be read as an image: {error}"));
    let mut decoder = reader.into_decoder().map_err(cannot)?;
    let orientation = decoder.orientation().map_err(cannot)?;
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(Unusable(format!("it is too large: {} MiB decoded", decoder.total_bytes() >> 20)));
    }
    // As it is decoded, and as it is turned upright.
    let _lent = budget::lend(2 * decoder.total_bytes() as usize, PATIENCE)?;
    let mut whole = DynamicImage::from_decoder(decoder).map_err(cannot)?;
    whole.apply_orientation(orientation);
    let small = whole.thumbnail(SMALL.min(whole.width()), SMALL.min(whole.height()));
    let mut written = Vec::new();
    let result = match small.color().has_alpha() {
        true => small.to_rgba8().write_to(&mut Cursor::new(&mut written), ImageFormat::Png),
        false => small.to_rgb8().write_to(&mut Cursor::new(&mut written), ImageFormat::Jpeg),
    };
    result.map_err(cannot)?;
    Ok(Picture { content_type: format.to_mime_type(), width: whole.width(), height: whole.height(), small: written })
}

/// What a thumbnail is.
pub(crate) fn content_type(small: &[u8]) -> &'static str {
    image::guess_format(small).map_or("application/octet-stream", |format| format.to_mime_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage, Rgba, RgbaImage};
    use proptest::prelude::*;

    fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).expect("an image");
        bytes
    }

    #[test]
    fn an_image_is_known_by_its_bytes_and_made_small() {
        let wide = DynamicImage::from(RgbImage::from_fn(640, 320, |x, y| Rgb([x as u8, y as u8, 7])));
        for (format, name) in
            [(ImageFormat::Png, "image/png"), (ImageFormat::Jpeg, "image/jpeg"), (ImageFormat::WebP, "image/webp")]
        {
            let picture = look_at(&written(&wide, format)).expect("a picture");
            assert_eq!((picture.content_type, picture.width, picture.height), (name, 640, 320));
            let small = image::load_from_memory(&picture.small).expect("an image");
            assert_eq!((small.width(), small.height(), content_type(&picture.small)), (200, 100, "image/jpeg"));
        }
        // What lets something through stays so, and what is small is not made larger.
        let clear = DynamicImage::from(RgbaImage::from_pixel(30, 40, Rgba([1, 2, 3, 0])));
        let picture = look_at(&written(&clear, ImageFormat::Png)).expect("a picture");
        let small = image::load_from_memory(&picture.small).expect("an image");
        assert_eq!((small.width(), small.height(), content_type(&picture.small)), (30, 40, "image/png"));
        assert_eq!(small.to_rgba8().get_pixel(5, 5)[3], 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn broken_bytes_are_refused_or_read_and_never_worse(
            format in prop::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif,
                ImageFormat::WebP]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
                cut in any::<prop::sample::Index>(),
        ) {
            let image = DynamicImage::from(RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, 7])));
            let mut bytes = written(&image, format);
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            let _ = look_at(&bytes);
            let _ = look_at(&bytes[..cut.index(bytes.len())]);
        }
    }

    #[test]
    fn what_is_no_image_or_is_broken_or_too_large_is_refused() {
        assert!(look_at(b"GIF, says somebody").is_err());
        assert!(look_at(b"<svg/>").is_err());
        let whole = written(&DynamicImage::from(RgbImage::new(100, 100)), ImageFormat::Png);
        assert!(look_at(&whole[..whole.len() / 2]).is_err());
        // A header that claims four thousand million pixels is not believed.
        let mut bomb = whole;
        bomb[16..24].copy_from_slice(&[0, 0, 255, 255, 0, 0, 255, 255]);
        assert!(look_at(&bomb).is_err());
    }
}
