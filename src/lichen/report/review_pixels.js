// From the text in the page to voxels, and from voxels to a canvas.
//
// An image is a Uint8Array of (C, *S): 1 to 255 stand for -1 to 1, and 0 for no image.
"use strict";
const Pixels = (() => {
  const DIFFERENCE_GAIN = 2;

  /** The images of a pair: base64 of zlib (RFC 1950) of `parts` images of `size` voxels each. */
  async function unpack(text, size, parts) {
    const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
    const whole = await (typeof DecompressionStream === "function" ? decompress(packed) : inflate(packed, size * parts));
    return Array.from({ length: parts }, (_, part) => whole.subarray(part * size, (part + 1) * size));
  }

  async function decompress(packed) {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // ---- RFC 1951, for browsers older than 2023, which have no DecompressionStream

  const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258]; // prettier-ignore
  const DISTANCES = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577]; // prettier-ignore
  const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

  /** Canonical Huffman code of code lengths: how many of each length, and the symbols in order (section 3.2.2). */
  function huffman(lengths) {
    const counts = new Uint16Array(16);
    for (const length of lengths) if (length) counts[length] += 1;
    const symbols = [];
    for (let length = 1; length < 16; length += 1) {
      lengths.forEach((own, symbol) => own === length && symbols.push(symbol));
    }
    return { counts, symbols };
  }

  function inflate(bytes, size) {
    const out = new Uint8Array(size);
    let [at, held, count, end] = [2, 0, 0, 0]; // two bytes of header
    function bits(wanted) {
      for (; count < wanted; count += 8) held |= bytes[at++] << count;
      const value = held & ((1 << wanted) - 1);
      held >>>= wanted;
      count -= wanted;
      return value;
    }
    function symbol({ counts, symbols }) {
      for (let length = 1, code = 0, first = 0, index = 0; length < 16; length += 1) {
        code |= bits(1);
        if (code - first < counts[length]) return symbols[index + code - first];
        index += counts[length];
        first = (first + counts[length]) << 1;
        code <<= 1;
      }
      throw new Error("damaged");
    }
    function lengthsOf(total, lengthCode) {
      const lengths = [];
      while (lengths.length < total) {
        const code = symbol(lengthCode);
        if (code < 16) lengths.push(code);
        else {
          const value = code === 16 ? lengths[lengths.length - 1] : 0;
          const times = code === 16 ? 3 + bits(2) : code === 17 ? 3 + bits(3) : 11 + bits(7);
          for (let i = 0; i < times; i += 1) lengths.push(value);
        }
      }
      return lengths;
    }
    function codes(kind) {
      if (kind === 1) {
        const fixed = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
        return [huffman(fixed), huffman(new Array(30).fill(5))];
      }
      const [literals, distances, used] = [257 + bits(5), 1 + bits(5), 4 + bits(4)];
      const lengths = new Array(19).fill(0);
      for (const which of ORDER.slice(0, used)) lengths[which] = bits(3);
      const all = lengthsOf(literals + distances, huffman(lengths));
      return [huffman(all.slice(0, literals)), huffman(all.slice(literals))];
    }
    for (let isLast = false; !isLast; ) {
      isLast = bits(1) === 1;
      const kind = bits(2);
      if (kind === 0) {
        held = count = 0; // the rest of a byte; no whole byte is ever held
        const length = bytes[at] | (bytes[at + 1] << 8);
        out.set(bytes.subarray(at + 4, at + 4 + length), end);
        at += 4 + length;
        end += length;
        continue;
      }
      const [literal, distance] = codes(kind);
      for (let code = symbol(literal); code !== 256; code = symbol(literal)) {
        if (code < 256) out[end++] = code;
        else {
          const length = LENGTHS[code - 257] + bits(code < 265 || code === 285 ? 0 : (code - 261) >> 2);
          const far = symbol(distance);
          const back = DISTANCES[far] + bits(far < 4 ? 0 : (far - 2) >> 1);
          for (const stop = end + length; end < stop; end += 1) out[end] = out[end - back];
        }
      }
    }
    return out;
  }

  // ---- planes

  /** Where in an image (C, *S) the pixels of a plane through the voxel `cross` lie, row by row, in channel 0. */
  function places(plane, sizes, cross) {
    const strides = sizes.map((_, axis) => sizes.slice(axis + 1).reduce((x, y) => x * y, 1));
    const [across, down] = [sizes[plane.across], sizes[plane.down]];
    const start = plane.through === null ? 0 : cross[plane.through] * strides[plane.through];
    const found = new Uint32Array(across * down);
    for (let row = 0, at = 0; row < down; row += 1) {
      const y = plane.isFlipped ? down - 1 - row : row;
      for (let column = 0; column < across; column += 1, at += 1) {
        const x = plane.isFlipped ? across - 1 - column : column;
        found[at] = start + x * strides[plane.across] + y * strides[plane.down];
      }
    }
    return found;
  }

  function paint(canvas, where, width, colour) {
    const picture = new ImageData(width, where.length / width);
    where.forEach((place, at) => colour(picture.data, 4 * at, place));
    [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  /** Paint `image` at the places `where`; `channels` are the offsets of one grey channel, or of red, green and blue. */
  function paintImage(canvas, where, width, image, channels) {
    paint(canvas, where, width, (data, at, place) => {
      for (let c = 0; c < 3; c += 1) {
        data[at + c] = ((image[place + channels[c % channels.length]] - 1) * 255) / 254;
      }
      data[at + 3] = image[place + channels[0]] ? 255 : 0;
    });
  }

  /** Paint a label map: each class, of which -1 to 1 holds as many as there are `colours`, in its own. */
  function paintLabels(canvas, where, width, image, channel, colours) {
    paint(canvas, where, width, (data, at, place) => {
      const value = image[place + channel];
      const number = Math.round((Math.max(value - 1, 0) / 254) * (colours.length - 1));
      data.set([...colours[number], value ? 255 : 0], at);
    });
  }

  /** Black where both are equal, orange where `image` is brighter than `other`, blue where it is darker, `gain` times. */
  function paintDifference(canvas, where, width, image, other, channels, gain = DIFFERENCE_GAIN) {
    paint(canvas, where, width, (data, at, place) => {
      let [sum, isShown] = [0, true];
      for (const channel of channels) {
        sum += image[place + channel] - other[place + channel];
        isShown = isShown && image[place + channel] > 0 && other[place + channel] > 0;
      }
      const strength = Math.min(255, (Math.abs(sum) / channels.length) * gain);
      const [red, green, blue] = sum > 0 ? [1, 0.62, 0.2] : [0.25, 0.6, 1];
      data.set([red * strength, green * strength, blue * strength, isShown ? 255 : 0], at);
    });
  }

  return { unpack, places, paintImage, paintLabels, paintDifference };
})();
