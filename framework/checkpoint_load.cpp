#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <span>

#include "framework/checkpoint.h"
#include "framework/checkpoint_format.h"
#include "framework/fail.h"
#include "framework/hdf5_handle.h"

namespace attune {
namespace {

using namespace checkpoint_format;

/// What a hard link leads to: two links with the same identity lead to one object.
std::string identity(const H5L_info_t& link) {
#if H5_VERSION_GE(1, 12, 0)
  return std::string(reinterpret_cast<const char*>(&link.u.token), sizeof link.u.token);
#else
  return std::string(reinterpret_cast<const char*>(&link.u.address), sizeof link.u.address);
#endif
}

std::vector<int64_t> extents(const std::string& where, hid_t id) {
  const hdf5::Space space = ATTUNE_HDF5_OPEN(Space, where, H5Dget_space, id);
  const int rank = ATTUNE_HDF5(where, H5Sget_simple_extent_ndims, space);
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  ATTUNE_HDF5(where, H5Sget_simple_extent_dims, space, dims.data(), nullptr);
  return std::vector<int64_t>(dims.begin(), dims.end());
}

hdf5::Attribute attribute(const std::string& where, hid_t owner, const char* name) {
  require<FormatError>(H5Aexists(owner, name) > 0, "{}: the attribute '{}' is missing", where, name);
  return ATTUNE_HDF5_OPEN(Attribute, where, H5Aopen, owner, name, H5P_DEFAULT);
}

std::string text_attribute(const std::string& where, hid_t owner, const char* name) {
  const hdf5::Attribute found = attribute(where, owner, name);
  const hdf5::Type type = ATTUNE_HDF5_OPEN(Type, where, H5Aget_type, found);
  const hdf5::Space space = ATTUNE_HDF5_OPEN(Space, where, H5Aget_space, found);
  require<FormatError>(H5Tis_variable_str(type) > 0 && H5Sget_simple_extent_type(space) == H5S_SCALAR,
                       "{}: the attribute '{}' is not a text", where, name);
  char* raw = nullptr;
  ATTUNE_HDF5(where, H5Aread, found, type, &raw);
  std::string out = raw == nullptr ? "" : raw;
  H5free_memory(raw);
  return out;
}

std::vector<int64_t> shape_attribute(const std::string& where, hid_t owner) {
  const hdf5::Attribute found = attribute(where, owner, kShapeAttribute);
  const hdf5::Type type = ATTUNE_HDF5_OPEN(Type, where, H5Aget_type, found);
  const hdf5::Space space = ATTUNE_HDF5_OPEN(Space, where, H5Aget_space, found);
  const hssize_t rank = ATTUNE_HDF5(where, H5Sget_simple_extent_npoints, space);
  require<FormatError>(
      H5Tequal(type, H5T_STD_I64LE) > 0 && H5Sget_simple_extent_ndims(space) == 1 && rank <= Shape::kMaxRank,
      "{}: the attribute '{}' is not a list of at most {} int64", where, kShapeAttribute, Shape::kMaxRank);
  std::vector<int64_t> shape(static_cast<size_t>(rank));
  if (rank > 0) ATTUNE_HDF5(where, H5Aread, found, H5T_NATIVE_INT64, shape.data());
  return shape;
}

/// Walks through a file whose bytes are those that were written, yet trusts nothing in it: whoever can compute a
/// SHA-256 can write any file.
class TreeReader {
 public:
  TreeReader(const std::string& who, hid_t file) : who_(who), any_text_(hdf5::text_type(who, H5T_VARIABLE)) {
    ATTUNE_HDF5(who_, H5Fget_filesize, file, &file_bytes_);
    group(file, "", 0);
  }

  std::vector<Checkpoint::Entry>& entries() { return entries_; }

 private:
  static constexpr int kMaxDepth = 64;

  void group(hid_t id, const std::string& prefix, int depth) {
    require<FormatError>(depth < kMaxDepth, "{}: groups are nested deeper than {} at '{}'", who_, kMaxDepth, prefix);
    H5G_info_t info{};
    ATTUNE_HDF5(who_, H5Gget_info, id, &info);
    for (hsize_t i = 0; i < info.nlinks; ++i) {
      const auto name_at = [&](char* to, size_t bytes) {
        return static_cast<size_t>(
            ATTUNE_HDF5(who_, H5Lget_name_by_idx, id, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i, to, bytes, H5P_DEFAULT));
      };
      std::string name(name_at(nullptr, 0), '\0');
      name_at(name.data(), name.size() + 1);
      object(id, name, prefix + name, depth);
    }
  }

  void object(hid_t parent, const std::string& name, const std::string& path, int depth) {
    H5L_info_t link{};
    ATTUNE_HDF5(who_, H5Lget_info, parent, name.c_str(), &link, H5P_DEFAULT);
    require<FormatError>(link.type == H5L_TYPE_HARD, "{}: '{}' is a soft or external link", who_, path);
    const std::string target = identity(link);
    if (const auto known = read_.find(target); known != read_.end()) {
      entries_.push_back({path, known->second});
      return;
    }
    const hdf5::Object child = ATTUNE_HDF5_OPEN(Object, who_, H5Oopen, parent, name.c_str(), H5P_DEFAULT);
    const H5I_type_t type = H5Iget_type(child);
    if (type == H5I_GROUP) {
      require<FormatError>(groups_.insert(target).second, "{}: the group '{}' is linked twice", who_, path);
      group(child, path + '/', depth + 1);
      return;
    }
    require<FormatError>(type == H5I_DATASET, "{}: '{}' is neither a group nor a dataset", who_, path);
    entries_.push_back({path, read_.emplace(target, dataset(child, path)).first->second});
  }

  Checkpoint::Value dataset(hid_t id, const std::string& path) {
    const std::string where = fmt::format("{}: '{}'", who_, path);
    const std::string dtype = text_attribute(where, id, kDTypeAttribute);
    const std::vector<int64_t> shape = shape_attribute(where, id);
    const std::vector<int64_t> stored = extents(where, id);
    const std::vector<int64_t> expected = shape.empty() ? std::vector<int64_t>{1} : shape;
    require<FormatError>(stored == expected, "{}: is stored as [{}], its attribute '{}' says [{}]", where,
                         fmt::join(stored, ", "), kShapeAttribute, fmt::join(shape, ", "));
    if (dtype != kTextType) return tensor(where, id, dtype, shape);
    require<FormatError>(shape.size() <= 1, "{}: a text of shape [{}]", where, fmt::join(shape, ", "));
    std::vector<std::string> found = texts(where, id, stored[0]);
    if (shape.empty()) return std::move(found[0]);
    return found;
  }

  Tensor tensor(const std::string& where, hid_t id, const std::string& name, std::span<const int64_t> shape) {
    DType dtype{};
    try {
      dtype = parse_dtype(name);
    } catch (const DTypeError& error) {
      fail<FormatError>("{}: {}", where, error.what());
    }
    const hid_t type = hdf5::element_type(dtype);
    const hdf5::Type stored = ATTUNE_HDF5_OPEN(Type, where, H5Dget_type, id);
    require<FormatError>(ATTUNE_HDF5(where, H5Tequal, stored, type) > 0,
                         "{}: its elements are not those of its attribute '{}', {}", where, kDTypeAttribute, name);
    require_stored(where, id, shape, dtype_size(dtype));
    Tensor out = Tensor::empty(Shape(shape), dtype);
    if (out.numel() > 0) ATTUNE_HDF5(where, H5Dread, id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.raw());
    return out;
  }

  std::vector<std::string> texts(const std::string& where, hid_t id, int64_t count) {
    const hdf5::Type stored = ATTUNE_HDF5_OPEN(Type, where, H5Dget_type, id);
    require<FormatError>(H5Tget_class(stored) == H5T_STRING, "{}: is not made of texts, as its attribute '{}' says",
                         where, kDTypeAttribute);
    const size_t width = H5Tget_size(stored);
    require_stored(where, id, std::span(&count, 1), width);
    std::vector<std::string> out;
    if (count == 0) return out;
    out.reserve(static_cast<size_t>(count));
    if (H5Tis_variable_str(stored) > 0) {
      std::vector<char*> pointers(static_cast<size_t>(count), nullptr);
      const hdf5::Space space = ATTUNE_HDF5_OPEN(Space, where, H5Dget_space, id);
      ATTUNE_HDF5(where, H5Dread, id, any_text_, H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data());
      for (const char* text : pointers) out.emplace_back(text == nullptr ? "" : text);
      ATTUNE_HDF5(where, H5Dvlen_reclaim, any_text_, space, H5P_DEFAULT, pointers.data());
    } else {
      std::string table(static_cast<size_t>(count) * width, '\0');
      ATTUNE_HDF5(where, H5Dread, id, stored, H5S_ALL, H5S_ALL, H5P_DEFAULT, table.data());
      for (const char* text = table.data(); out.size() < static_cast<size_t>(count); text += width) {
        out.emplace_back(text, strnlen(text, width));
      }
    }
    return out;
  }

  /// Memory is taken only for what the file really holds: extents alone are just numbers.
  void require_stored(const std::string& where, hid_t id, std::span<const int64_t> shape, size_t element) {
    const hdf5::Properties creation = ATTUNE_HDF5_OPEN(Properties, where, H5Dget_create_plist, id);
    require<FormatError>(H5Pget_layout(creation) == H5D_CHUNKED, "{}: is not a chunked dataset", where);
    const hsize_t stored = H5Dget_storage_size(id);
    bool plausible = stored <= file_bytes_;
    bool empty = false;
    uint64_t bytes = element;
    for (const int64_t extent : shape) {
      const auto factor = static_cast<uint64_t>(std::max<int64_t>(extent, 1));
      plausible = plausible && extent >= 0 && bytes <= uint64_t{INT64_MAX} / factor;
      bytes = plausible ? bytes * factor : 0;
      empty = empty || extent == 0;
    }
    require<FormatError>(plausible && (empty || bytes <= stored), "{}: holds {} bytes, too few for its shape [{}]",
                         where, stored, fmt::join(shape, ", "));
  }

  const std::string& who_;
  hdf5::Type any_text_;
  hsize_t file_bytes_ = 0;
  std::vector<Checkpoint::Entry> entries_;
  std::map<std::string, Checkpoint::Value> read_;
  std::set<std::string> groups_;
};

}  // namespace

Checkpoint Checkpoint::load(const std::string& path) {
  verify_bytes(path);
  const hdf5::Silence silence;
  Checkpoint out;
  out.source_ = path;
  const hdf5::Properties access = ATTUNE_HDF5_OPEN(Properties, path, H5Pcreate, H5P_FILE_ACCESS);
  // Files are replaced, never changed: no lock is needed, and not every file system has them.
  ATTUNE_HDF5(path, H5Pset_file_locking, access, false, true);
  const hdf5::File file = ATTUNE_HDF5_OPEN(File, path, H5Fopen, path.c_str(), H5F_ACC_RDONLY, access);

  out.library_version_ = text_attribute(path, file, kLibraryAttribute);
  TreeReader tree(path, file);
  for (auto& [entry_path, value] : tree.entries()) {
    try {
      out.add(std::move(entry_path), std::move(value));
    } catch (const ValueError& error) {
      fail<FormatError>("{}: {}", path, error.what());
    }
  }
  const std::string expected = text_attribute(path, file, kDigestAttribute);
  const std::string found = content_sha256(out.entries_);
  require<FormatError>(found == expected, "{}: its content has the SHA-256 {}, expected {}", path, found, expected);
  return out;
}

}  // namespace attune
