//! Pictures as PNG files with a palette, which keeps them small: a chart has few colours.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use hashbrown::HashMap;

type Color = [u8; 3];

/// Colours that a palette has.
const COLORS: usize = 256;

/// The file. `pixels` row by row; `None` if they are not as many as `width` says.
pub fn encode(width: u32, pixels: &[Color]) -> Option<Vec<u8>> {
    let columns = usize::try_from(width).ok().filter(|w| *w > 0)?;
    if pixels.is_empty() || !pixels.len().is_multiple_of(columns) {
        return None;
    }
    let height = u32::try_from(pixels.len() / columns).ok()?;
    let palette = palette(pixels);
    let mut near: HashMap<Color, u8> = palette.iter().copied().zip(0..=u8::MAX).collect();
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut row = Vec::with_capacity(columns + 1);
    for line in pixels.chunks(columns) {
        row.clear();
        // No filter: neighbours in a palette are not alike.
        row.push(0);
        for run in line.chunk_by(|a, b| a == b) {
            let Some(color) = run.first() else { continue };
            let number = *near.entry(*color).or_insert_with(|| nearest(&palette, *color));
            row.resize(row.len() + run.len(), number);
        }
        rows.write_all(&row).ok()?;
    }
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let [size, height] = [width, height].map(u32::to_be_bytes);
    // Eight bits a pixel, each the number of a colour.
    chunk(&mut out, b"IHDR", &[size.as_slice(), &height, &[8, 3, 0, 0, 0]].concat());
    chunk(&mut out, b"PLTE", palette.as_flattened());
    chunk(&mut out, b"IDAT", &rows.finish().ok()?);
    chunk(&mut out, b"IEND", &[]);
    Some(out)
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    let mut sum = crc32fast::Hasher::new();
    for part in [kind.as_slice(), data] {
        sum.update(part);
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&sum.finalize().to_be_bytes());
}

/// The colours that most pixels have.
fn palette(pixels: &[Color]) -> Vec<Color> {
    let mut counts: HashMap<Color, u32> = HashMap::new();
    // In runs, as most of a chart is the same.
    for run in pixels.chunk_by(|a, b| a == b) {
        if let Some(color) = run.first() {
            let count = counts.entry(*color).or_default();
            *count = count.saturating_add(u32::try_from(run.len()).unwrap_or(u32::MAX));
        }
    }
    let mut colors: Vec<(Color, u32)> = counts.into_iter().collect();
    // The hash map's order must not decide anything.
    colors.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    colors.truncate(COLORS);
    colors.into_iter().map(|(color, _)| color).collect()
}

fn nearest(palette: &[Color], wanted: Color) -> u8 {
    let distance =
        |color: &Color| -> u32 { color.iter().zip(wanted).map(|(a, b)| u32::from(a.abs_diff(b))).map(|d| d * d).sum() };
    let nearest = palette.iter().zip(0..=u8::MAX).min_by_key(|(color, _)| distance(color));
    nearest.map_or(0, |(_, number)| number)
}

/// The size and the pixels of a file that [`encode`] has made.
#[cfg(test)]
pub fn decode(file: &[u8]) -> (u32, Vec<Color>) {
    use std::io::Read;
    assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
    let mut rest = &file[8..];
    let (mut width, mut palette, mut rows) = (0, Vec::new(), Vec::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (kind, data) = (&rest[4..8], &rest[8..8 + length]);
        let sum = u32::from_be_bytes(rest[8 + length..12 + length].try_into().unwrap());
        assert_eq!(sum, crc32fast::hash(&rest[4..8 + length]));
        match kind {
            b"IHDR" => width = u32::from_be_bytes(data[..4].try_into().unwrap()),
            b"PLTE" => palette = data.as_chunks().0.to_vec(),
            b"IDAT" => _ = flate2::read::ZlibDecoder::new(data).read_to_end(&mut rows).unwrap(),
            _ => assert_eq!(kind, b"IEND"),
        }
        rest = &rest[12 + length..];
    }
    let pixels = rows.chunks(width as usize + 1).flat_map(|row| row[1..].iter().map(|n| palette[usize::from(*n)]));
    (width, pixels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_few_colours_comes_back_as_it_was() {
        let pixels: Vec<Color> = (0..600u32).map(|n| [(n % 200) as u8, 7, (n / 300) as u8]).collect();
        assert_eq!(decode(&encode(30, &pixels[..300]).unwrap()), (30, pixels[..300].to_vec()));
        assert_eq!(encode(30, &pixels), encode(30, &pixels));
    }

    #[test]
    fn of_many_colours_the_rare_ones_become_their_neighbours() {
        let mut pixels: Vec<Color> = (0..=255).flat_map(|n| [[n, n, n]; 3]).collect();
        pixels.extend([[10, 10, 11], [200, 203, 200]]);
        let (_, back) = decode(&encode(1, &pixels).unwrap());
        assert_eq!(back[..768], pixels[..768]);
        assert_eq!(back[768..], [[10, 10, 10], [201, 201, 201]]);
    }

    #[test]
    fn what_is_no_picture_gives_no_file() {
        assert_eq!(encode(0, &[[0; 3]]), None);
        assert_eq!(encode(2, &[[0; 3]; 3]), None);
        assert_eq!(encode(2, &[]), None);
    }
}
