#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "datasets/caption_formats.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

using nlohmann::json;

constexpr const char* kImage = R"({"id": 1, "file_name": "a.jpg"})";
constexpr const char* kAnnotation = R"({"image_id": 1, "caption": "a dog"})";
constexpr const char* kKarpathy = R"({"filename": "a.jpg", "split": "train", "sentences": [{"raw": "a dog"}]})";

/// What Karpathy's files say of a picture besides.
struct Described {
  std::optional<std::string> file;
  std::optional<std::string> split;
  std::vector<std::string> sentences;
  bool has_sentences = false;
};

/// An entry of one of the two lists: its picture's number, and a file name or a caption.
struct Entry {
  std::optional<int64_t> id;
  std::optional<std::string> text;
  Described described = {};
};

struct List {
  const char* name;
  const char* id;
  const char* text;
  const char* expected;
  bool there = false;
  std::vector<Entry> entries = {};
};

/// Takes JSON piece by piece and keeps what is needed: the files say much more of every picture.
class CocoHandler {
 public:
  explicit CocoHandler(const std::string& path) : path_(path) {}

  List images{"images", "id", "file_name", kImage};
  List annotations{"annotations", "image_id", "caption", kAnnotation};

  // What nlohmann::json calls; false would end the reading.
  bool null() { return scalar(); }
  bool boolean(bool) { return scalar(); }
  bool number_integer(int64_t value) {
    if (in_entry() && key_ == list_->id) list_->entries.back().id = value;
    return scalar();
  }
  bool number_unsigned(uint64_t value) { return number_integer(static_cast<int64_t>(value)); }
  bool number_float(double, const std::string&) { return scalar(); }
  bool string(std::string& value) {
    if (in_entry() && key_ == list_->text) {
      list_->entries.back().text = std::move(value);
    } else if (in_entry() && list_ == &images && key_ == "filename") {
      images.entries.back().described.file = std::move(value);
    } else if (in_entry() && list_ == &images && key_ == "split") {
      images.entries.back().described.split = std::move(value);
    } else if (in_sentence() && key_ == "raw") {
      images.entries.back().described.sentences.back() = std::move(value);
    }
    return scalar();
  }
  bool binary(json::binary_t&) { return scalar(); }
  bool key(std::string& name) {
    key_ = name;
    if (depth_ == 3) member_ = name;
    if (depth_ == 1) list_ = name == images.name ? &images : name == annotations.name ? &annotations : nullptr;
    return true;
  }
  bool start_object(size_t) {
    if (depth_ == 4 && in_sentences()) images.entries.back().described.sentences.emplace_back();
    return open();
  }
  bool end_object() { return close(); }
  bool start_array(size_t) {
    if (depth_ == 1 && list_ != nullptr) list_->there = true;
    if (in_entry() && in_sentences()) images.entries.back().described.has_sentences = true;
    return open();
  }
  bool end_array() { return close(); }
  [[noreturn]] bool parse_error(size_t position, const std::string&, const json::exception&) {
    fail<FormatError>("{}: byte {} is not as JSON has it; get the file again", path_, position);
  }

 private:
  bool in_list() const { return depth_ == 2 && list_ != nullptr && list_->there; }
  bool in_entry() const { return depth_ == 3 && list_ != nullptr && !list_->entries.empty(); }

  bool in_sentences() const {
    return depth_ >= 3 && list_ == &images && !images.entries.empty() && member_ == "sentences";
  }
  bool in_sentence() const {
    return depth_ == 5 && in_sentences() && !images.entries.back().described.sentences.empty();
  }

  /// Whatever stands in a list is an entry; one without members is found wanting in the end.
  bool scalar() {
    if (in_list()) list_->entries.emplace_back();
    return true;
  }
  bool open() {
    scalar();
    key_.clear();
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }

  const std::string& path_;
  int64_t depth_ = 0;  // objects and arrays around
  List* list_ = nullptr;
  std::string key_;
  std::string member_;  // of the entry, around all that is deeper
};

/// Throws FormatError unless the list is there and its entries have their members.
void check(const List& list, const std::string& path) {
  require<FormatError>(list.there,
                       "{}: no list \"{}\", expected COCO's captions: {{\"images\": [{}], \"annotations\": [{}]}}",
                       path, list.name, kImage, kAnnotation);
  for (size_t i = 0; i < list.entries.size(); ++i) {
    const Entry& entry = list.entries[i];
    require<FormatError>(entry.id && entry.text, "{}: entry {} of \"{}\" has no {}, expected {}", path, i, list.name,
                         entry.id ? list.text : list.id, list.expected);
  }
}

/// The picture of each number. Throws FormatError for two pictures of one number.
std::unordered_map<int64_t, std::string> names_of(const List& images, const std::string& path) {
  std::unordered_map<int64_t, std::string> names;
  for (const Entry& image : images.entries) {
    const auto [known, added] = names.emplace(*image.id, *image.text);
    require<FormatError>(added || known->second == *image.text,
                         "{}: two pictures of \"images\" have the id {}: {} and {}, expected an id for each", path,
                         *image.id, utf8::quoted(known->second), utf8::quoted(*image.text));
  }
  return names;
}

void require_text(std::string_view caption, const std::function<std::string()>& where) {
  require<FormatError>(caption.find('\0') == std::string_view::npos, "{}: NUL byte, expected text", where());
}

CaptionFormat read_coco(const CocoHandler& handler, const std::string& path, const AddCaption& add) {
  check(handler.images, path);
  check(handler.annotations, path);
  const std::unordered_map<int64_t, std::string> names = names_of(handler.images, path);
  const std::vector<Entry>& captions = handler.annotations.entries;
  for (size_t i = 0; i < captions.size(); ++i) {
    const auto where = [&] { return fmt::format("{}: entry {} of \"annotations\"", path, i); };
    require_text(*captions[i].text, where);
    const auto name = names.find(*captions[i].id);
    // Some of COCO's captions hold line ends.
    add(name != names.end() ? name->second : fmt::format("image_id {}", *captions[i].id),
        one_line_caption(*captions[i].text), where);
  }
  return {"COCO JSON"};
}

/// What others call "dev" is "val" there.
bool is_in(const std::string& split, const std::string& wanted) {
  return wanted.empty() || split == wanted || (wanted == "dev" && split == "val");
}

/// Throws FormatError, naming the splits that there are.
void require_split(const std::set<std::string>& splits, const std::string& wanted, const std::string& path) {
  std::string list;
  bool found = false;
  for (const std::string& split : splits) {
    list += (list.empty() ? "" : ", ") + utf8::quoted(split);
    found = found || is_in(split, wanted);
  }
  require<FormatError>(found, "{}: no picture of the split '{}', the file has {}", path, wanted, list);
}

CaptionFormat read_karpathy(const CocoHandler& handler, const std::string& path, const std::string& split,
                            const AddCaption& add) {
  std::map<std::string_view, const std::string*> split_of;
  std::set<std::string> splits;
  const std::vector<Entry>& images = handler.images.entries;
  for (size_t i = 0; i < images.size(); ++i) {
    const Described& image = images[i].described;
    const bool whole = image.file && image.split && image.has_sentences;
    require<FormatError>(whole, "{}: entry {} of \"images\" has no {}, expected {}", path, i,
                         !image.file    ? "filename"
                         : !image.split ? "split"
                                        : "sentences",
                         kKarpathy);
    const auto [known, added] = split_of.emplace(*image.file, &*image.split);
    require<FormatError>(added || *known->second == *image.split, "{}: {} is in the splits {} and {}, expected one",
                         path, utf8::quoted(*image.file), utf8::quoted(*known->second), utf8::quoted(*image.split));
    splits.insert(*image.split);
  }
  require_split(splits, split, path);
  for (size_t i = 0; i < images.size(); ++i) {
    const Described& image = images[i].described;
    if (!is_in(*image.split, split)) continue;
    const auto where = [&] { return fmt::format("{}: entry {} of \"images\"", path, i); };
    for (const std::string& sentence : image.sentences) {
      require_text(sentence, where);
      add(*image.file, one_line_caption(sentence), where);
    }
  }
  return {"Karpathy's JSON", true};
}

}  // namespace

CaptionFormat read_caption_json(std::string_view text, const std::string& path, const std::string& split,
                                const AddCaption& add) {
  CocoHandler handler(path);
  json::sax_parse(text, &handler);
  const std::vector<Entry>& images = handler.images.entries;
  const bool described = std::any_of(images.begin(), images.end(), [](const Entry& image) {
    return image.described.file || image.described.has_sentences;
  });
  return described && !handler.annotations.there ? read_karpathy(handler, path, split, add)
                                                 : read_coco(handler, path, add);
}

}  // namespace attune
