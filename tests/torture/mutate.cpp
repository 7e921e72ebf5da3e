#include "tests/torture/mutate.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace attune::torture {
namespace {

using namespace std::string_literals;

std::string repeated(std::string_view piece, size_t count) {
  std::string out;
  out.reserve(piece.size() * count);
  for (size_t i = 0; i < count; ++i) out += piece;
  return out;
}

/// Where values of JSON begin and end: numbers, texts, true, false and null, in the order of the text.
struct Span {
  size_t begin;
  size_t end;
  bool name;  ///< followed by a colon
};
std::vector<Span> values_of(const std::string& json) {
  std::vector<Span> out;
  for (size_t i = 0; i < json.size();) {
    size_t end = i + 1;
    if (json[i] == '"') {
      while (end < json.size() && json[end] != '"') end += json[end] == '\\' ? 2 : 1;
      end = std::min(json.size(), end + 1);
      const size_t next = json.find_first_not_of(" \n", end);
      out.push_back({i, end, next != std::string::npos && json[next] == ':'});
    } else if (std::string_view("{}[]:, \n\t").find(json[i]) == std::string_view::npos) {
      while (end < json.size() && std::string_view("{}[]:, \n\t").find(json[end]) == std::string_view::npos) ++end;
      out.push_back({i, end, false});
    }
    i = end;
  }
  return out;
}

constexpr std::array kWords = {"a",    "the",    "film", "teacher", "dog", "sees", "not", "good", "boring", "house",
                               "very", "moving", ".",    ",",       "'s",  "and",  "of",  "is",   "!",      "green"};

std::string usual_line(Dice& dice) {
  std::string line;
  for (int64_t i = dice.between(1, 12); i > 0; --i) line += std::string(dice.pick(kWords)) + (i > 1 ? " " : "");
  return line;
}

/// Text that is long, or not text at all.
std::string hostile_piece(Dice& dice) {
  static const std::vector<std::string> kPieces = {
      "\0"s,           "\xFF\xFE"s,     "\xC0\x80"s,     "\xED\xA0\x80"s, "\xF4\x90\x80\x80"s, "\xE2\x82"s,
      "\r"s,           "\t"s,           "\x1b[31m"s,     "\x7f"s,         "\xEF\xBB\xBF"s,     "\xE2\x80\x8B"s,
      "\xE2\x80\xAE"s, "\xE2\x96\x81"s, "\xE2\x96\x85"s, "\xC4\xB0"s,     "\xC3\x9F"s,         "\xF0\x9F\x91\xA8"s,
      "\xE2\x80\xA8"s, "\xC2\x85"s,     "\xC2\xA0"s,     "\xE3\x80\x80"s, "e\xCC\x81"s,        "|||"s,
      "<unk>"s,        "</s>"s,         "<script>"s,     "\"quoted\""s,   "\xEF\xBF\xBE"s,     "&amp;"s};
  std::string piece = dice.pick(kPieces);
  if (dice.chance(0.7)) return piece;
  // Long: in all, a megabyte or so at most.
  piece = dice.chance(0.5) ? dice.pick({"a"s, "'"s, "."s, "-"s, "1"s, " "s}) : piece;
  const size_t bytes = dice.pick({size_t{300}, size_t{40000}, size_t{70000}, size_t{200000}, size_t{1100000}});
  return repeated(piece, bytes / piece.size());
}

}  // namespace

void burst(Dice& dice, std::string& bytes, size_t at, size_t most) {
  const size_t count = 1 + dice.below(most);
  for (size_t i = at; i < bytes.size() && i < at + count; ++i) {
    if (dice.chance(0.3)) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << dice.below(8)));
    } else {
      bytes[i] = static_cast<char>(dice.pick({0, 1, 0x7f, 0x80, 0xff, static_cast<int>(dice.below(256))}));
    }
  }
}

std::string damaged(Dice& dice, std::string bytes) {
  if (bytes.empty()) return std::string(dice.below(100), 'x');
  const size_t at = dice.below(bytes.size());
  switch (dice.below(8)) {
    case 0:
      return bytes.substr(0, at);
    case 1:
      return bytes + bytes.substr(at);
    case 2:
      return bytes + std::string(1 + dice.below(5), '\0');
    case 3:
      return bytes.erase(at, 1 + dice.below(16));
    case 4:
      return bytes.insert(at, bytes.substr(at / 2, 1 + dice.below(64)));
    case 5:
      burst(dice, bytes, at, 30);
      return bytes;
    default:
      for (int64_t count = dice.between(1, 4); count > 0; --count) burst(dice, bytes, dice.below(bytes.size()), 1);
      return bytes;
  }
}

std::string hostile_value(Dice& dice) {
  static const std::vector<std::string> kValues = {"0",
                                                   "-1",
                                                   "1",
                                                   "2",
                                                   "3",
                                                   "7",
                                                   "0.5",
                                                   "-0.0",
                                                   "1e-320",
                                                   "1e300",
                                                   "1e999",
                                                   "-1e999",
                                                   "1e39",
                                                   "1024",
                                                   "8192",
                                                   "65536",
                                                   "1000000",
                                                   "2147483648",
                                                   "1e30",
                                                   "NaN",
                                                   "Infinity",
                                                   "null",
                                                   "true",
                                                   "false",
                                                   "[]",
                                                   "{}",
                                                   "\"\"",
                                                   "\"x\"",
                                                   "[1]",
                                                   "\"\\u0000\"",
                                                   "[[]]",
                                                   "{\"a\":1}",
                                                   "\"/\"",
                                                   "-",
                                                   "\"\\ud800\"",
                                                   "1000000000000",
                                                   "9223372036854775807",
                                                   "9223372036854775808",
                                                   "18446744073709551616",
                                                   "\"/etc/passwd\"",
                                                   "\"\\u001b[31m\"",
                                                   "\"../../x\"",
                                                   "100000000000000000000000000000000000000",
                                                   "0x10",
                                                   "'x'",
                                                   "01",
                                                   "1.",
                                                   "\"bpe\"",
                                                   "\"words\""};
  if (dice.chance(0.85)) return dice.pick(kValues);
  const size_t count = dice.pick({size_t{100}, size_t{5000}, size_t{150000}});
  switch (dice.below(4)) {
    case 0:
      return std::string(count, '[') + std::string(count, ']');
    case 1:
      return repeated("{\"a\":", count) + "1" + std::string(count, '}');
    case 2:
      return '"' + std::string(count, 'x') + '"';
    default:
      return std::string(count, '9');
  }
}

std::string hostile_json(Dice& dice, const std::string& json) {
  const std::vector<Span> values = values_of(json);
  if (values.empty() || dice.chance(0.05)) return hostile_value(dice);
  if (dice.chance(0.1)) return damaged(dice, json);
  std::string out = json;
  for (int64_t changes = dice.chance(0.8) ? 1 : dice.between(2, 4); changes > 0; --changes) {
    const std::vector<Span> now = values_of(out);
    if (now.empty()) break;
    // Rather values than names.
    Span span = dice.pick(now);
    for (int again = 0; again < 3 && span.name; ++again) span = dice.pick(now);
    const std::string value = span.name && dice.chance(0.7) ? "\"" + usual_line(dice) + "\"" : hostile_value(dice);
    out.replace(span.begin, span.end - span.begin, value);
  }
  return out;
}

std::string hostile_line(Dice& dice) {
  if (dice.chance(0.75)) return usual_line(dice);
  if (dice.chance(0.2)) return "";
  std::string line = usual_line(dice);
  for (int64_t pieces = dice.between(1, 2); pieces > 0; --pieces) {
    line.insert(dice.below(line.size() + 1), hostile_piece(dice));
  }
  return line;
}

std::string hostile_lines(Dice& dice, int64_t count) {
  std::string out;
  for (int64_t i = 0; i < count; ++i) {
    out += hostile_line(dice);
    if (i + 1 < count || dice.chance(0.8)) out += dice.chance(0.05) ? "\r\n" : "\n";
  }
  return out;
}

std::string gzipped(const std::string& bytes) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2 failed");
  }
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("deflate failed");
  return out;
}

}  // namespace attune::torture
