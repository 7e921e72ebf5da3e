#include "tests/torture/hostile_picture.h"

#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/torture/mutate.h"

namespace attune::torture {
namespace {

using testing::gradient_picture;
using testing::jpeg_file;
using testing::png_file;

std::string big_endian(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
  return out;
}

uint32_t from_big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

struct Chunk {
  std::string type;
  std::string data;
};

constexpr size_t kSignatureBytes = 8;

std::vector<Chunk> chunks_of(const std::string& png) {
  std::vector<Chunk> out;
  for (size_t at = kSignatureBytes; at + 12 <= png.size();) {
    const size_t length = from_big_endian(png, at);
    out.push_back({png.substr(at + 4, 4), png.substr(at + 8, length)});
    at += 12 + length;
  }
  return out;
}

/// A PNG whose checksums are right, whatever is in its chunks.
std::string png_of(const std::vector<Chunk>& chunks) {
  std::string out = "\x89PNG\r\n\x1a\n";
  for (const auto& [type, data] : chunks) {
    const std::string body = type + data;
    out += big_endian(static_cast<uint32_t>(data.size())) + body;
    out += big_endian(
        static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()))));
  }
  return out;
}

std::string deflated(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string out(size, '\0');
  if (compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
               bytes.size()) != Z_OK) {
    throw std::runtime_error("compress failed");
  }
  out.resize(size);
  return out;
}

std::string good_png(Dice& dice) {
  const bool interlaced = dice.chance(0.3);
  switch (dice.below(4)) {
    case 0:
      return png_file(9, 16, std::vector<uint8_t>(9 * 16, 77), {PNG_COLOR_TYPE_GRAY, 8, interlaced});
    case 1:
      return png_file(9, 16, std::vector<uint8_t>(9 * 4, 0x1b), {PNG_COLOR_TYPE_PALETTE, 2, interlaced});
    case 2:
      return png_file(9, 16, std::vector<uint8_t>(9 * 16 * 8, 99), {PNG_COLOR_TYPE_RGB_ALPHA, 16, interlaced});
    default:
      return png_file(20, 24, gradient_picture(20, 24).pixels, {PNG_COLOR_TYPE_RGB, 8, interlaced});
  }
}

std::string good_jpeg(Dice& dice) {
  if (dice.chance(0.2)) return jpeg_file(8, 8, std::vector<uint8_t>(64, 100), {.channels = 1});
  if (dice.chance(0.2))
    return jpeg_file(8, 8, std::vector<uint8_t>(256, 100), {.channels = 4, .adobe = dice.chance(0.5)});
  return jpeg_file(gradient_picture(33, 40), {.progressive = dice.chance(0.4), .scan_by_channel = dice.chance(0.2)});
}

/// Few bytes that stand for many.
std::string bomb(Dice& dice, std::string& what) {
  std::vector<Chunk> chunks = chunks_of(good_png(dice));
  const std::string zeros(size_t{7} << 20, '\0');
  switch (dice.below(4)) {
    case 0: {
      what = "png: inflating texts";
      const Chunk text = {"zTXt", std::string("Comment\0\0", 9) + deflated(zeros)};
      chunks.insert(chunks.begin() + 1, static_cast<size_t>(dice.pick({1, 100, 800})), text);
      break;
    }
    case 1:
      what = "png: inflating profile";
      chunks.insert(chunks.begin() + 1, {"iCCP", std::string("x\0\0", 3) + deflated(zeros + zeros)});
      break;
    case 2:
      what = "png: extents";
      chunks[0].data.replace(0, 8,
                             big_endian(dice.pick({0U, 1U, 12000U, 65535U, 0x7fffffffU, 0xffffffffU})) +
                                 big_endian(dice.pick({0U, 1U, 12000U, 65535U, 0x7fffffffU, 0xffffffffU})));
      break;
    default:
      what = "png: inflating pixels";
      chunks[0].data.replace(0, 8, big_endian(8000) + big_endian(8000));
      for (Chunk& chunk : chunks) {
        if (chunk.type == "IDAT") chunk.data = deflated(zeros + zeros + zeros);
      }
      break;
  }
  return png_of(chunks);
}

}  // namespace

std::string hostile_picture(Dice& dice, std::string& what) {
  if (dice.chance(0.15)) return bomb(dice, what);
  if (dice.chance(0.4)) {
    what = "jpeg: damaged";
    std::string file = good_jpeg(dice);
    if (dice.chance(0.5)) {
      // The extents and tables stand at the beginning.
      burst(dice, file, dice.below(std::min<size_t>(file.size(), 400)), 2);
      return file;
    }
    return damaged(dice, std::move(file));
  }
  if (dice.chance(0.3)) {
    what = "png: damaged";
    return damaged(dice, good_png(dice));
  }
  what = "png: chunk, checksum right";
  std::vector<Chunk> chunks = chunks_of(good_png(dice));
  const size_t at = dice.below(chunks.size());
  switch (dice.below(4)) {
    case 0:
      chunks.erase(chunks.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 1:
      chunks.insert(chunks.begin() + static_cast<std::ptrdiff_t>(at), Chunk(chunks[dice.below(chunks.size())]));
      break;
    default:
      chunks[at].data = damaged(dice, chunks[at].data);
      break;
  }
  return png_of(chunks);
}

}  // namespace attune::torture
