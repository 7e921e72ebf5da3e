#include "datasets/subword_model.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <unordered_set>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

enum class Wire : uint8_t { kNumber = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// A field of a protocol buffer's message.
struct Field {
  uint64_t number = 0;
  Wire wire = Wire::kNumber;
  uint64_t value = 0;           ///< of numbers
  std::string_view bytes = {};  ///< of everything else
};

/// Goes through the fields of a message.
class Message {
 public:
  Message(std::string_view bytes, const std::string& origin) : rest_(bytes), origin_(origin) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t tag = number();
    field = {.number = tag >> 3, .wire = static_cast<Wire>(tag & 7)};
    switch (field.wire) {
      case Wire::kNumber:
        field.value = number();
        break;
      case Wire::kFixed64:
        field.bytes = take(8);
        break;
      case Wire::kBytes:
        field.bytes = take(number());
        break;
      case Wire::kFixed32:
        field.bytes = take(4);
        break;
      default:
        refuse();
    }
    return true;
  }

 private:
  [[noreturn]] void refuse() const { fail<FormatError>("{}: not a SentencePiece model (damaged)", origin_); }

  uint64_t number() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    refuse();
  }

  std::string_view take(uint64_t count) {
    if (count > rest_.size()) refuse();
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  const std::string& origin_;
};

struct ModelPiece {
  enum Type : uint64_t { kNormal = 1, kUnknown = 2, kControl = 3 };

  std::string_view text;
  float score = 0;
  uint64_t type = kNormal;
};

// Numbers of fields, as in SentencePiece's sentencepiece_model.proto.

ModelPiece read_piece(std::string_view bytes, const std::string& origin) {
  Message message(bytes, origin);
  ModelPiece piece;
  for (Field field; message.next(field);) {
    const bool known = (field.number == 1 && field.wire == Wire::kBytes) ||
                       (field.number == 2 && field.wire == Wire::kFixed32) ||
                       (field.number == 3 && field.wire == Wire::kNumber);
    require<FormatError>(known, "{}: a SentencePiece model whose pieces have an unknown field {}", origin,
                         field.number);
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2) std::memcpy(&piece.score, field.bytes.data(), sizeof piece.score);
    if (field.number == 3) piece.type = field.value;
  }
  return piece;
}

void check_piece(const ModelPiece& piece, size_t number, const std::string& origin) {
  const bool text = !piece.text.empty() && piece.text.find('\0') == std::string_view::npos &&
                    utf8::find_invalid(piece.text) == std::string_view::npos;
  require<FormatError>(text, "{}: piece {} of the SentencePiece model is {}, expected UTF-8 text", origin, number,
                       utf8::quoted(piece.text));
  require<FormatError>(std::isfinite(piece.score), "{}: piece {} of the SentencePiece model has the score {}", origin,
                       number, piece.score);
  // <pad>, <unk>, <bos>, <eos>, and what was learned.
  const uint64_t expected = number == 1  ? ModelPiece::kUnknown
                            : number < 4 ? ModelPiece::kControl
                                         : ModelPiece::kNormal;
  require<FormatError>(piece.type == expected, "{}: piece {} of the SentencePiece model is of type {}, expected {}",
                       origin, number, piece.type, expected);
}

void check_training(std::string_view bytes, const std::string& origin) {
  Message message(bytes, origin);
  for (Field field; message.next(field);) {
    const auto expect = [&](uint64_t number, const char* name, bool ok) {
      require<FormatError>(field.number != number || ok, "{}: a SentencePiece model of another kind ({}: {})", origin,
                           name, field.wire == Wire::kNumber ? std::to_string(field.value) : utf8::quoted(field.bytes));
    };
    expect(3, "model_type", field.wire == Wire::kNumber && (field.value == 1 || field.value == 2));
    expect(24, "treat_whitespace_as_suffix", field.wire == Wire::kNumber && field.value == 0);
    expect(35, "byte_fallback", field.wire == Wire::kNumber && field.value == 0);
    expect(44, "unk_surface", field.wire == Wire::kBytes && field.bytes == "<unk>");
  }
}

void check_normalisation(std::string_view bytes, const std::string& origin) {
  Message message(bytes, origin);
  for (Field field; message.next(field);) {
    const bool table = (field.number == 2 || field.number == 6) && !field.bytes.empty();
    require<FormatError>(
        !table, "{}: a SentencePiece model with rules of normalisation, which codecs of Attune do not have", origin);
    // Whether a space is put first, spaces are joined, and become U+2581.
    const bool off = field.number >= 3 && field.number <= 5 && (field.wire != Wire::kNumber || field.value != 1);
    require<FormatError>(!off, "{}: a SentencePiece model that takes spaces otherwise than codecs of Attune do",
                         origin);
  }
}

}  // namespace

void require_plain_model(std::string_view model, const std::string& origin) {
  constexpr size_t kSpecials = 4;
  Message message(model, origin);
  std::unordered_set<std::string_view> texts;
  size_t count = 0;
  for (Field field; message.next(field);) {
    const bool known = field.wire == Wire::kBytes && field.number >= 1 && field.number <= 5 && field.number != 4;
    require<FormatError>(known, "{}: not a SentencePiece model of Attune (field {})", origin, field.number);
    if (field.number == 1) {
      const ModelPiece piece = read_piece(field.bytes, origin);
      check_piece(piece, count, origin);
      require<FormatError>(texts.insert(piece.text).second,
                           "{}: piece {} of the SentencePiece model, {}, is there twice", origin, count,
                           utf8::quoted(piece.text));
      ++count;
    } else if (field.number == 2) {
      check_training(field.bytes, origin);
    } else {
      check_normalisation(field.bytes, origin);
    }
  }
  require<FormatError>(count > kSpecials,
                       "{}: a SentencePiece model with {} pieces, expected more than the {} special ones", origin,
                       count, kSpecials);
}

}  // namespace attune
