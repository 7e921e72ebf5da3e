#include "datasets/captions.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "datasets/caption_formats.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

std::string path_in(const std::string& folder, const std::string& name) { return (fs::path(folder) / name).string(); }

/// Names of a folder's regular files.
Names file_names(const std::string& folder, const char* expected) {
  Names names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) names.insert(entry->path().filename().string());
  }
  require<IoError>(!error, "{}: cannot be read: {}; expected {}", folder, error.message(), expected);
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

/// Those of the names that are there, plain or gzipped.
std::vector<std::string> present(const Names& files, const std::vector<std::string>& names) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    for (const std::string& file : {name, name + ".gz"}) {
      if (files.contains(file)) found.push_back(file);
    }
  }
  return found;
}

/// Lists that the folder has, for a message.
std::string lists_of(const Names& files) {
  std::vector<std::string> lists;
  for (const std::string& file : files) {
    if (file.ends_with(".txt")) lists.push_back(file);
  }
  return lists.empty() ? "none" : joined(lists);
}

/// Where collections keep their pictures: the names that they are distributed with, the usual one first.
constexpr std::array kImageFolders = {"images",           "Images",           "Flicker8k_Dataset",
                                      "Flickr8k_Dataset", "flickr30k_images", "flickr30k-images"};

std::string image_folder(const std::string& folder) {
  const auto is_there = [&](const char* name) {
    std::error_code ignored;
    return fs::is_directory(path_in(folder, name), ignored);
  };
  const auto* found = std::find_if(kImageFolders.begin(), kImageFolders.end(), is_there);
  return found == kImageFolders.end() ? kImageFolders.front() : *found;
}

struct Source {
  std::string path;
  bool one_split = false;  ///< its name says that it holds nothing but the split
};

/// Those that say of every picture in which split it is.
std::vector<std::string> files_with_splits(const Names& files) {
  return present(files, {"dataset.json", "dataset_flickr8k.json", "dataset_flickr30k.json", "dataset_coco.json"});
}

/// The file of captions.
Source find_captions(const std::string& folder, const Names& files, const CaptionReadOptions& options) {
  if (!options.captions.empty()) return {options.captions};
  const std::string& split = options.split;
  std::vector<std::string> found;
  if (!split.empty()) found = present(files, {split + ".json", "captions_" + split + ".json"});
  const bool one_split = !found.empty();
  if (found.empty() && !split.empty()) found = files_with_splits(files);
  if (found.empty()) {
    found = present(
        files, {"captions.tsv", "captions.txt", "captions.csv", "captions.json", "results.csv", "Flickr8k.token.txt"});
    const std::vector<std::string> with_splits = files_with_splits(files);
    found.insert(found.end(), with_splits.begin(), with_splits.end());
  }
  require<IoError>(!found.empty(),
                   "{}: no captions, expected captions.tsv, captions.txt, captions.csv, captions.json, results.csv, "
                   "dataset_flickr8k.json or Flickr8k.token.txt",
                   folder);
  require<IoError>(found.size() == 1, "{}: {} are there, expected one file of captions; name the one to read", folder,
                   joined(found));
  return {path_in(folder, found[0]), one_split};
}

/// The list of a split's pictures.
std::string find_list(const std::string& folder, const Names& files, const std::string& split) {
  const std::vector<std::string> lists = present(files, {split + ".txt", "Flickr_8k." + split + "Images.txt"});
  require<IoError>(!lists.empty(), "{}: no {}.txt that lists the pictures of the split; text files there: {}", folder,
                   split, lists_of(files));
  require<IoError>(lists.size() == 1, "{}: {} are there, expected one list of the split", folder, joined(lists));
  return path_in(folder, lists[0]);
}

/// Captions by picture, pictures in the order in which they were first named.
struct Collected {
  std::vector<CaptionedPicture> pictures;
  std::map<std::string, size_t> numbers;

  CaptionedPicture& picture(const std::string& name) {
    const auto [found, added] = numbers.emplace(name, pictures.size());
    if (added) pictures.push_back({name, {}});
    return pictures[found->second];
  }
};

struct FileContent {
  Collected collected;
  CaptionFormat format;
};

FileContent read_file(const std::string& path, const CaptionReadOptions& options, const Names& images,
                      CaptionReport& report) {
  FileContent content;
  Names missing;
  std::unordered_set<std::string> said;  // a name, a tab, a caption
  content.format = read_caption_file(
      ByteReader(path), options.text, options.split,
      [&](std::string_view image, std::string_view caption, const std::function<std::string()>& where) {
        const std::string name(image);
        if (utf8::is_blank(caption)) return report.empty.add(where());
        if (!images.contains(name)) {
          if (missing.insert(name).second) report.missing_pictures.add(utf8::quoted(name));
          return;
        }
        if (!said.insert(fmt::format("{}\t{}", image, caption)).second) report.duplicates.add(where());
        content.collected.picture(name).captions.emplace_back(caption);
      });
  report.format = content.format.name;
  return content;
}

/// The names of a list, each once, that are among the images.
std::vector<std::string> read_list(const std::string& path, const CaptionReadOptions& options, const Names& images,
                                   CaptionReport& report) {
  std::vector<std::string> names;
  Names seen;
  TextReader reader(path, options.text);
  for (std::string_view line; reader.next(line);) {
    const std::vector<std::string_view> words = utf8::split(line);
    if (words.empty()) continue;
    const std::string name(
        line.substr(static_cast<size_t>(words.front().data() - line.data()),
                    static_cast<size_t>(words.back().data() - words.front().data()) + words.back().size()));
    if (!seen.insert(name).second) {
      report.repeated_in_split.add(utf8::quoted(name));
    } else if (!images.contains(name)) {
      report.unknown_in_split.add(utf8::quoted(name));
    } else {
      names.push_back(name);
    }
  }
  require<FormatError>(!seen.empty(), "{}: empty, expected names of pictures", path);
  return names;
}

}  // namespace

void Findings::add(std::string_view where) {
  ++count;
  if (first.size() < kNamed) first.emplace_back(where);
}

std::string Findings::to_string() const {
  const char* more = count > static_cast<int64_t>(first.size()) ? ", ..." : "";
  return count == 0 ? "0" : fmt::format("{} ({}{})", count, joined(first), more);
}

std::string CaptionReport::to_string() const {
  const std::pair<const char*, const Findings*> all[] = {
      {"pictures of captions that images/ does not have, left out", &missing_pictures},
      {"pictures without captions, left out", &uncaptioned},
      {"names of the split that images/ does not have, left out", &unknown_in_split},
      {"names repeated in the split", &repeated_in_split},
      {"captions that their picture has twice, kept", &duplicates},
      {"empty captions, left out", &empty}};
  std::string text;
  for (const auto& [what, findings] : all) {
    if (findings->count > 0) text += fmt::format("; {}: {}", what, findings->to_string());
  }
  return text;
}

int64_t CaptionData::caption_count() const {
  int64_t count = 0;
  for (const CaptionedPicture& picture : pictures) count += static_cast<int64_t>(picture.captions.size());
  return count;
}

std::vector<std::string> CaptionData::paths() const {
  std::vector<std::string> paths;
  for (const CaptionedPicture& picture : pictures) paths.push_back((fs::path(folder) / images / picture.name).string());
  return paths;
}

std::string CaptionData::to_string() const {
  return fmt::format("{} pictures with {} captions from {} ({}){}", pictures.size(), caption_count(), captions_path,
                     report.format, report.to_string());
}

CaptionData read_captions(const std::string& folder, const CaptionReadOptions& options) {
  const Names files = file_names(folder, "a folder with images/ and captions");
  const Source source = find_captions(folder, files, options);
  CaptionData data;
  data.folder = folder;
  data.images = image_folder(folder);
  data.captions_path = source.path;
  const Names images = file_names(path_in(folder, data.images), "a folder of pictures");
  auto [collected, format] = read_file(source.path, options, images, data.report);
  const bool needs_list = !options.split.empty() && !source.one_split && !format.has_splits;
  const std::string list = needs_list ? find_list(folder, files, options.split) : "";
  if (list.empty()) {
    for (const std::string& name : images) {
      if (options.split.empty() && !collected.numbers.contains(name)) data.report.uncaptioned.add(utf8::quoted(name));
    }
    data.pictures = std::move(collected.pictures);
  } else {
    for (const std::string& name : read_list(list, options, images, data.report)) {
      const auto found = collected.numbers.find(name);
      if (found == collected.numbers.end()) {
        data.report.uncaptioned.add(utf8::quoted(name));
      } else {
        data.pictures.push_back(std::move(collected.pictures[found->second]));
      }
    }
  }
  require<FormatError>(!data.pictures.empty(), "{}: no picture with a caption is left{}",
                       list.empty() ? source.path : list, data.report.to_string());
  return data;
}

std::string EncodedCaptions::to_string() const {
  return fmt::format("{} captions with {} tokens ({} unknown), {} overlong", captions.size(),
                     captions.token_count() - captions.size(), unknown, overlong);
}

EncodedCaptions encode_captions(const std::vector<CaptionedPicture>& pictures, const TextCodec& codec,
                                const PairEncodeOptions& options) {
  require<ValueError>(options.max_length == 0 || options.max_length >= 2,
                      "encode_captions: max_length is {}, expected 0 (no limit) or at least 2", options.max_length);
  const size_t most = options.max_length == 0 ? SIZE_MAX : static_cast<size_t>(options.max_length);
  EncodedCaptions encoded;
  for (size_t p = 0; p < pictures.size(); ++p) {
    for (size_t n = 0; n < pictures[p].captions.size(); ++n) {
      std::vector<int64_t> ids = codec.encode(pictures[p].captions[n]);
      if (ids.size() >= most) {
        require<FormatError>(options.overlong != Overlong::kError,
                             "{}: caption {} has {} tokens, expected at most {}; shorten it or allow truncation",
                             pictures[p].name, n + 1, ids.size() + 1, most);
        ++encoded.overlong;
        if (options.overlong == Overlong::kLeaveOut) continue;
        ids.resize(most - 1);
      }
      encoded.unknown += std::count(ids.begin(), ids.end(), TextCodec::kUnknown);
      ids.insert(ids.begin(), TextCodec::kBegin);
      ids.push_back(TextCodec::kEnd);
      encoded.captions.add(ids);
      encoded.pictures.push_back(static_cast<int64_t>(p));
      encoded.numbers.push_back(static_cast<int64_t>(n));
    }
  }
  require<FormatError>(encoded.captions.size() > 0,
                       "encode_captions: no captions of {} pictures are left, {} are longer "
                       "than {} tokens; raise the limit",
                       pictures.size(), encoded.overlong, most);
  return encoded;
}

}  // namespace attune
