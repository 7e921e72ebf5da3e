#include "datasets/caption_formats.h"

#include <algorithm>
#include <array>
#include <utility>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

constexpr const char* kExpectedCaption = "expected image<TAB>caption or image#n<TAB>caption";
// COCO's largest file has 90 MB.
constexpr size_t kMostJsonBytes = size_t{1} << 30;
constexpr size_t kLookedAt = 256;

/// A first line that names the columns of a table, and how the others are to be read.
struct TableKind {
  std::string_view header;
  char separator;
  const char* name;
};
constexpr std::array kTables = {
    TableKind{"image,caption", ',', "image,caption with header"},
    TableKind{"image_name,caption", ',', "image,caption with header"},
    TableKind{"image,comment_number,comment", ',', "image,number,caption with header"},
    TableKind{"image_name,comment_number,comment", ',', "image,number,caption with header"},
    TableKind{"image_name|comment_number|comment", '|', "image|number|caption with header"},
};

/// True when the first character is that of a JSON object.
bool begins_object(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n", text.starts_with("\xEF\xBB\xBF") ? 3 : 0);
  return begin != std::string_view::npos && text[begin] == '{';
}

std::string read_all(ByteReader& bytes) {
  std::string text;
  constexpr size_t kStep = size_t{1} << 20;
  for (size_t read = kStep; read == kStep;) {
    const size_t before = text.size();
    require<FormatError>(before <= kMostJsonBytes, "{}: JSON of more than {} bytes, expected captions", bytes.path(),
                         kMostJsonBytes);
    text.resize(before + kStep);
    read = bytes.read(text.data() + before, kStep);
    text.resize(before + read);
  }
  return text;
}

/// "a.jpg" of "a.jpg#0"; the name as it is where no number is behind.
std::string_view without_number(std::string_view image) {
  const size_t hash = image.rfind('#');
  if (hash == std::string_view::npos || hash + 1 == image.size()) return image;
  const bool number = image.find_first_not_of("0123456789", hash + 1) == std::string_view::npos;
  return number ? image.substr(0, hash) : image;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

const TableKind* table_of(std::string_view line) {
  std::string header(line);
  std::erase(header, ' ');
  const auto* found =
      std::find_if(kTables.begin(), kTables.end(), [&](const TableKind& kind) { return header == kind.header; });
  return found == kTables.end() ? nullptr : found;
}

/// One record of a table with a header. Captions in quotes may go on in the next lines.
class TableReader {
 public:
  TableReader(TextReader& reader, const TableKind& kind)
      : reader_(reader),
        kind_(kind),
        columns_(1 + std::count(kind.header.begin(), kind.header.end(), kind.separator)) {}

  void read(const AddCaption& add) {
    for (std::string_view line; reader_.next(line);) {
      const std::string where = reader_.where();
      const auto place = [&where] { return where; };
      if (utf8::is_blank(line)) {
        add({}, {}, place);
        continue;
      }
      fields_.clear();
      kind_.separator == ',' ? split_quoted(line, where) : split_plain(line);
      require<FormatError>(std::ssize(fields_) == columns_, "{}: {} columns, expected {}: {}", where, fields_.size(),
                           columns_, kind_.header);
      const std::string_view image = without_number(trimmed(fields_.front()));
      require<FormatError>(!image.empty(), "{}: no image, expected {}", where, kind_.header);
      add(image, one_line_caption(fields_.back()), place);
    }
  }

 private:
  void split_quoted(std::string_view line, const std::string& where) {
    if (split_csv(line, columns_, fields_)) return;
    constexpr size_t kMostBytes = size_t{1} << 20;
    const auto quotes = [](std::string_view text) { return std::count(text.begin(), text.end(), '"'); };
    std::string record(line);
    bool open = quotes(record) % 2 == 1;
    while (open) {
      std::string_view next;
      require<FormatError>(record.size() < kMostBytes && reader_.next(next),
                           "{}: quotation marks that are not closed, expected {}", where, kind_.header);
      record.append(" ").append(next);
      open = quotes(next) % 2 == 0;
    }
    fields_.clear();
    require<FormatError>(split_csv(record, columns_, fields_),
                         "{}: a quotation mark within a field, expected it doubled and the field in quotes: "
                         "\"a \"\"big\"\" dog\"",
                         where);
  }

  /// The caption may hold the separator.
  void split_plain(std::string_view line) {
    while (std::ssize(fields_) + 1 < columns_) {
      const size_t at = line.find(kind_.separator);
      if (at == std::string_view::npos) break;
      fields_.emplace_back(line.substr(0, at));
      line.remove_prefix(at + 1);
    }
    fields_.emplace_back(line);
    if (std::ssize(fields_) + 1 == columns_) split_number();
  }

  /// A row of Flickr30k's own file lacks the separator behind the number: "2199200615.jpg| 4   A dog runs".
  void split_number() {
    const std::string_view rest = trimmed(fields_.back());
    const size_t digits = rest.find_first_not_of("0123456789");
    if (digits == 0 || digits == std::string_view::npos || rest[digits] != ' ') return;
    std::string caption(rest.substr(digits));
    fields_.back() = rest.substr(0, digits);
    fields_.push_back(std::move(caption));
  }

  TextReader& reader_;
  const TableKind& kind_;
  int64_t columns_;
  std::vector<std::string> fields_;
};

}  // namespace

std::string one_line_caption(std::string_view caption) {
  std::string line;
  for (std::string_view word : utf8::split(caption)) line.append(line.empty() ? "" : " ").append(word);
  return line;
}

bool split_csv(std::string_view record, int64_t columns, std::vector<std::string>& fields) {
  for (;;) {
    std::string& field = fields.emplace_back();
    const bool last = std::ssize(fields) == columns;
    size_t i = 0;
    if (record.starts_with('"')) {
      for (i = 1;; ++i) {
        const size_t quote = record.find('"', i);
        if (quote == std::string_view::npos) return false;
        field.append(record, i, quote - i);
        i = quote + 1;
        if (i == record.size() || record[i] != '"') break;
        field += '"';
      }
      if (i < record.size() && (last || record[i] != ',')) return false;
    } else {
      i = last ? record.size() : std::min(record.find(','), record.size());
      field = record.substr(0, i);
    }
    if (i == record.size()) return true;
    record.remove_prefix(i + 1);
  }
}

CaptionFormat read_caption_file(ByteReader bytes, const TextReaderOptions& options, const std::string& split,
                                const AddCaption& add) {
  if (!bytes.is_folder() && begins_object(bytes.peek(kLookedAt))) {
    const std::string path = bytes.path();
    return read_caption_json(read_all(bytes), path, split, add);
  }
  TextReader reader(std::move(bytes), options);
  bool numbered = false;
  const auto where = [&reader] { return reader.where(); };
  for (std::string_view line; reader.next(line);) {
    if (reader.line_number() == 1) {
      if (const TableKind* table = table_of(line); table != nullptr) {
        TableReader(reader, *table).read(add);
        return {table->name};
      }
    }
    if (utf8::is_blank(line)) {
      add({}, {}, where);
      continue;
    }
    const size_t tab = line.find('\t');
    require<FormatError>(tab != std::string_view::npos, "{}: no tab, {}", reader.where(), kExpectedCaption);
    require<FormatError>(line.find('\t', tab + 1) == std::string_view::npos, "{}: more than one tab, {}",
                         reader.where(), kExpectedCaption);
    const std::string_view image = without_number(line.substr(0, tab));
    require<FormatError>(!image.empty(), "{}: no image, {}", reader.where(), kExpectedCaption);
    numbered = numbered || image.size() < tab;
    add(image, line.substr(tab + 1), where);
  }
  return {numbered ? "image#n<TAB>caption" : "image<TAB>caption"};
}

}  // namespace attune
