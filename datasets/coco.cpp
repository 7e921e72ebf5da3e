#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
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

/// An entry of one of the two lists: its picture's number, and a file name or a caption.
struct Entry {
  std::optional<int64_t> id;
  std::optional<std::string> text;
};

struct List {
  const char* name;
  const char* id;
  const char* text;
  const char* expected;
  bool there = false;
  std::vector<Entry> entries = {};
};

/// Takes JSON piece by piece and keeps what is needed: COCO's own files say much more of every picture.
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
    if (in_entry() && key_ == list_->text) list_->entries.back().text = std::move(value);
    return scalar();
  }
  bool binary(json::binary_t&) { return scalar(); }
  bool key(std::string& name) {
    key_ = name;
    if (depth_ == 1) list_ = name == images.name ? &images : name == annotations.name ? &annotations : nullptr;
    return true;
  }
  bool start_object(size_t) { return open(); }
  bool end_object() { return close(); }
  bool start_array(size_t) {
    if (depth_ == 1 && list_ != nullptr) list_->there = true;
    return open();
  }
  bool end_array() { return close(); }
  [[noreturn]] bool parse_error(size_t position, const std::string&, const json::exception&) {
    fail<FormatError>("{}: byte {} is not as JSON has it; get the file again", path_, position);
  }

 private:
  bool in_list() const { return depth_ == 2 && list_ != nullptr && list_->there; }
  bool in_entry() const { return depth_ == 3 && list_ != nullptr && !list_->entries.empty(); }

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

/// Some of COCO's captions hold line ends.
std::string one_line(std::string_view caption) {
  std::string line;
  for (std::string_view word : utf8::split(caption)) {
    if (!line.empty()) line += ' ';
    line += word;
  }
  return line;
}

}  // namespace

void read_coco_captions(std::string_view text, const std::string& path, const AddCaption& add) {
  CocoHandler handler(path);
  json::sax_parse(text, &handler);
  check(handler.images, path);
  check(handler.annotations, path);
  std::unordered_map<int64_t, std::string> names;
  for (Entry& image : handler.images.entries) names[*image.id] = std::move(*image.text);
  const std::vector<Entry>& captions = handler.annotations.entries;
  for (size_t i = 0; i < captions.size(); ++i) {
    const auto where = [&] { return fmt::format("{}: entry {} of \"annotations\"", path, i); };
    require<FormatError>(captions[i].text->find('\0') == std::string::npos, "{}: NUL byte, expected text", where());
    const auto name = names.find(*captions[i].id);
    add(name != names.end() ? name->second : fmt::format("image_id {}", *captions[i].id), one_line(*captions[i].text),
        where);
  }
}

}  // namespace attune
