#include <algorithm>
#include <array>
#include <mutex>
#include <set>
#include <span>
#include <unordered_map>

#include "framework/atomic_file.h"
#include "framework/checkpoint.h"
#include "framework/checkpoint_format.h"
#include "framework/fail.h"
#include "framework/hdf5_image.h"
#include "framework/sha256.h"
#include "framework/text.h"
#include "framework/version.h"

namespace attune {
namespace {

using namespace checkpoint_format;

/// Fills an open HDF5 file with entries.
class Writer {
 public:
  Writer(hid_t file, const std::string& who)
      : file_(file), who_(who), group_(hdf5::group_properties(who, H5P_GROUP_CREATE)) {}

  void attribute(hid_t owner, const char* name, hid_t type, const std::vector<hsize_t>* dims, const void* value) {
    const hdf5::Space space = dims == nullptr ? ATTUNE_HDF5_OPEN(Space, who_, H5Screate, H5S_SCALAR)
                                              : ATTUNE_HDF5_OPEN(Space, who_, H5Screate_simple,
                                                                 static_cast<int>(dims->size()), dims->data(), nullptr);
    const hdf5::Attribute made =
        ATTUNE_HDF5_OPEN(Attribute, who_, H5Acreate2, owner, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    // HDF5 refuses a null pointer even where nothing is to be written.
    ATTUNE_HDF5(who_, H5Awrite, made, type, value == nullptr ? "" : value);
  }
  void attribute(hid_t owner, const char* name, const std::string& text) {
    attribute(owner, name, hdf5::text_type(who_, text.size()), nullptr, text.data());
  }

  void entry(const Checkpoint::Entry& entry) {
    make_groups(entry.path);
    if (const auto* tensor = std::get_if<Tensor>(&entry.value)) {
      dataset(entry, entry.shape(), hdf5::element_type(tensor->dtype()), dtype_size(tensor->dtype()), tensor->raw());
    } else {
      const auto* text = std::get_if<std::string>(&entry.value);
      texts(entry, text != nullptr ? std::span(text, 1) : std::span(std::get<std::vector<std::string>>(entry.value)));
    }
  }

  void link(const std::string& path, const std::string& existing) {
    make_groups(path);
    ATTUNE_HDF5(who_, H5Lcreate_hard, file_, existing.c_str(), file_, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
  }

 private:
  void make_groups(const std::string& path) {
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const auto [group, fresh] = groups_.insert(path.substr(0, slash));
      if (fresh) {
        ATTUNE_HDF5_OPEN(Group, who_, H5Gcreate2, file_, group->c_str(), H5P_DEFAULT, group_, H5P_DEFAULT);
      }
    }
  }

  void texts(const Checkpoint::Entry& entry, std::span<const std::string> texts) {
    size_t longest = 1;
    size_t total = 0;
    for (const auto& text : texts) {
      longest = std::max(longest, text.size());
      total += text.size();
    }
    // Those of one length take the longest one's space each.
    if (texts.size() * longest <= 16 * total + kChunkBytes) {
      std::string table(texts.size() * longest, '\0');
      for (size_t i = 0; i < texts.size(); ++i) texts[i].copy(table.data() + i * longest, longest);
      dataset(entry, entry.shape(), hdf5::text_type(who_, longest), longest, table.data());
    } else {
      std::string joined;
      for (const auto& text : texts) joined.append(text.c_str(), text.size() + 1);
      dataset(entry, {std::ssize(joined)}, H5T_STD_U8LE, 1, joined.data());
    }
  }

  /// stored: the extents of the dataset; of a joined list they are not the entry's.
  void dataset(const Checkpoint::Entry& entry, const std::vector<int64_t>& stored, hid_t type, size_t element_bytes,
               const void* data) {
    // Only datasets with an axis can be chunked.
    std::vector<hsize_t> dims(stored.begin(), stored.end());
    if (dims.empty()) dims = {1};
    // A chunk may only be larger than an axis, here an empty one, when that can grow.
    std::vector<hsize_t> limits = dims;
    for (auto& limit : limits) limit = limit == 0 ? H5S_UNLIMITED : limit;
    const std::vector<hsize_t> chunk = chunk_of(dims, element_bytes);

    const hdf5::Properties creation = ATTUNE_HDF5_OPEN(Properties, who_, H5Pcreate, H5P_DATASET_CREATE);
    ATTUNE_HDF5(who_, H5Pset_chunk, creation, static_cast<int>(chunk.size()), chunk.data());
    ATTUNE_HDF5(who_, H5Pset_fletcher32, creation);
    ATTUNE_HDF5(who_, H5Pset_obj_track_times, creation, false);
    const hdf5::Space space =
        ATTUNE_HDF5_OPEN(Space, who_, H5Screate_simple, static_cast<int>(dims.size()), dims.data(), limits.data());
    const hdf5::Dataset set = ATTUNE_HDF5_OPEN(Dataset, who_, H5Dcreate2, file_, entry.path.c_str(), type, space,
                                               H5P_DEFAULT, creation, H5P_DEFAULT);
    if (std::find(dims.begin(), dims.end(), 0) == dims.end()) {
      ATTUNE_HDF5(who_, H5Dwrite, set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
    }

    attribute(set, kDTypeAttribute, entry.dtype());
    const std::vector<int64_t> shape = entry.shape();
    const std::vector<hsize_t> rank = {shape.size()};
    attribute(set, kShapeAttribute, H5T_NATIVE_INT64, &rank, shape.data());
  }

  static std::vector<hsize_t> chunk_of(std::vector<hsize_t> dims, size_t element_bytes) {
    size_t bytes = element_bytes;
    for (auto& dim : dims) bytes *= dim = std::max<hsize_t>(dim, 1);
    for (size_t axis = 0; bytes > kChunkBytes && axis < dims.size(); ++axis) {
      // Chunks of equal size: the last one is stored in full even where it reaches beyond the data.
      const hsize_t whole = dims[axis];
      const size_t row = bytes / whole;
      const hsize_t chunks = std::min<hsize_t>(whole, (bytes + kChunkBytes - 1) / kChunkBytes);
      dims[axis] = row > kChunkBytes ? 1 : (whole + chunks - 1) / chunks;
      if (row <= kChunkBytes) break;
      bytes = row;
    }
    return dims;
  }

  hid_t file_;
  const std::string& who_;
  hdf5::Properties group_;
  std::set<std::string> groups_;
};

/// For every entry the first one that is the same tensor, itself as a rule.
std::vector<size_t> first_of_same(const std::vector<Checkpoint::Entry>& entries) {
  std::unordered_map<const Storage*, std::vector<size_t>> seen;
  std::vector<size_t> firsts;
  for (size_t i = 0; i < entries.size(); ++i) {
    firsts.push_back(i);
    const auto* tensor = std::get_if<Tensor>(&entries[i].value);
    if (tensor == nullptr) continue;
    auto& candidates = seen[tensor->storage().get()];
    const auto same = std::find_if(candidates.begin(), candidates.end(),
                                   [&](size_t k) { return same_memory(*tensor, std::get<Tensor>(entries[k].value)); });
    if (same != candidates.end()) {
      firsts.back() = *same;
    } else {
      candidates.push_back(i);
    }
  }
  return firsts;
}

/// A little more than the file will take: elements, checksums, padding of chunks and texts, HDF5's own structures.
size_t expected_bytes(const std::vector<Checkpoint::Entry>& entries) {
  size_t bytes = size_t{1} << 16;
  for (const auto& entry : entries) bytes += 2048 + static_cast<size_t>(entry.bytes()) * 33 / 32;
  return bytes;
}

}  // namespace

void Checkpoint::save(const std::string& path) const {
  const std::lock_guard lock(hdf5::mutex());
  const hdf5::Silence silence;
  const Checkpoint content = host();
  const std::vector<size_t> firsts = first_of_same(entries_);
  const std::string who = shown(path, kMaxPathBytes);
  const hdf5::Image image(who, kHeaderBytes, expected_bytes(content.entries_), [&](hid_t file) {
    Writer writer(file, who);
    const int version = kFormatVersion;
    writer.attribute(file, kVersionAttribute, H5T_NATIVE_INT, nullptr, &version);
    writer.attribute(file, kLibraryAttribute, kVersion);
    writer.attribute(file, kDigestAttribute, content_sha256(content.entries_));
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (firsts[i] == i) {
        writer.entry(content.entries_[i]);
      } else {
        writer.link(entries_[i].path, entries_[firsts[i]].path);
      }
    }
  });
  Sha256 digest;
  digest.update(image.content());
  const std::string front = header(image.content().size(), digest.finish());
  const std::array<std::string_view, 2> pieces = {front, image.content()};
  write_file_atomically(path, pieces);
}

}  // namespace attune
