#include "datasets/caption_formats.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

constexpr const char* kExpectedCaption = "expected image<TAB>caption or image#n<TAB>caption";
// COCO's largest file has 90 MB.
constexpr size_t kMostJsonBytes = size_t{1} << 30;

/// The bytes of a file, plain or gzipped, when they are JSON; nothing for anything else.
std::string read_json(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rbe"), gzclose_r);
  require<IoError>(file != nullptr, "{}: cannot be opened for reading: {}", path, std::strerror(errno));
  std::string text;
  constexpr size_t kStep = size_t{1} << 20;
  for (size_t read = kStep; read == kStep;) {
    const size_t before = text.size();
    require<FormatError>(before <= kMostJsonBytes, "{}: JSON of more than {} bytes, expected captions", path,
                         kMostJsonBytes);
    text.resize(before + kStep);
    const int count = gzread(file.get(), text.data() + before, static_cast<unsigned>(kStep));
    // TextReader says what is wrong with a folder or a damaged gzip stream.
    read = count < 0 ? 0 : static_cast<size_t>(count);
    text.resize(before + read);
    const size_t begin = text.find_first_not_of(" \t\r\n", text.starts_with("\xEF\xBB\xBF") ? 3 : 0);
    if (begin == std::string::npos || text[begin] != '{') return {};
    int code = Z_OK;
    const char* message = gzerror(file.get(), &code);
    if (code != Z_OK && code != Z_STREAM_END) {
      fail<FormatError>("{}: damaged or truncated gzip file (zlib: {}); get it again", path, message);
    }
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

}  // namespace

std::string read_caption_file(const std::string& path, const TextReaderOptions& options, const AddCaption& add) {
  if (const std::string json = read_json(path); !json.empty()) {
    read_coco_captions(json, path, add);
    return "COCO JSON";
  }
  TextReader reader(path, options);
  bool numbered = false;
  const auto where = [&reader] { return reader.where(); };
  for (std::string_view line; reader.next(line);) {
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
  return numbered ? "image#n<TAB>caption" : "image<TAB>caption";
}

}  // namespace attune
