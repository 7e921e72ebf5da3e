#include "datasets/captions.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
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

struct Sources {
  std::string captions;
  std::string list;  // empty: all pictures
};

Sources find_sources(const std::string& folder, const CaptionReadOptions& options) {
  const Names files = file_names(folder, "a folder with images/ and captions");
  const std::string& split = options.split;
  std::vector<std::string> of_split;
  if (!split.empty()) of_split = present(files, {split + ".json", "captions_" + split + ".json"});
  Sources sources{options.captions, ""};
  if (sources.captions.empty()) {
    const std::vector<std::string> of_all =
        present(files, {"captions.tsv", "captions.txt", "captions.json", "Flickr8k.token.txt"});
    const std::vector<std::string>& found = of_split.empty() ? of_all : of_split;
    require<IoError>(!found.empty(),
                     "{}: no captions, expected captions.tsv, captions.txt, captions.json or Flickr8k.token.txt",
                     folder);
    require<IoError>(found.size() == 1, "{}: {} are there, expected one file of captions; name the one to read", folder,
                     joined(found));
    sources.captions = path_in(folder, found[0]);
    if (!of_split.empty()) return sources;
  }
  if (split.empty()) return sources;
  const std::vector<std::string> lists = present(files, {split + ".txt", "Flickr_8k." + split + "Images.txt"});
  require<IoError>(!lists.empty(), "{}: no {}.txt that lists the pictures of the split; text files there: {}", folder,
                   split, lists_of(files));
  require<IoError>(lists.size() == 1, "{}: {} are there, expected one list of the split", folder, joined(lists));
  sources.list = path_in(folder, lists[0]);
  return sources;
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

Collected collect(const Sources& sources, const CaptionReadOptions& options, const Names& images,
                  CaptionReport& report) {
  Collected collected;
  Names missing;
  report.format = read_caption_file(
      sources.captions, options.text,
      [&](std::string_view image, std::string_view caption, const std::function<std::string()>& where) {
        const std::string name(image);
        if (utf8::is_blank(caption)) return report.empty.add(where());
        if (!images.contains(name)) {
          if (missing.insert(name).second) report.missing_pictures.add(utf8::quoted(name));
          return;
        }
        std::vector<std::string>& captions = collected.picture(name).captions;
        if (std::find(captions.begin(), captions.end(), caption) != captions.end()) report.duplicates.add(where());
        captions.emplace_back(caption);
      });
  return collected;
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
  for (const CaptionedPicture& picture : pictures)
    paths.push_back((fs::path(folder) / "images" / picture.name).string());
  return paths;
}

std::string CaptionData::to_string() const {
  return fmt::format("{} pictures with {} captions from {} ({}){}", pictures.size(), caption_count(), captions_path,
                     report.format, report.to_string());
}

CaptionData read_captions(const std::string& folder, const CaptionReadOptions& options) {
  const Sources sources = find_sources(folder, options);
  const Names images = file_names(path_in(folder, "images"), "a folder of pictures");
  CaptionData data;
  data.folder = folder;
  data.captions_path = sources.captions;
  Collected collected = collect(sources, options, images, data.report);
  if (sources.list.empty()) {
    for (const std::string& name : images) {
      if (options.split.empty() && !collected.numbers.contains(name)) data.report.uncaptioned.add(utf8::quoted(name));
    }
    data.pictures = std::move(collected.pictures);
  } else {
    for (const std::string& name : read_list(sources.list, options, images, data.report)) {
      const auto found = collected.numbers.find(name);
      if (found == collected.numbers.end()) {
        data.report.uncaptioned.add(utf8::quoted(name));
      } else {
        data.pictures.push_back(std::move(collected.pictures[found->second]));
      }
    }
  }
  require<FormatError>(!data.pictures.empty(), "{}: no picture with a caption is left{}",
                       sources.list.empty() ? sources.captions : sources.list, data.report.to_string());
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
