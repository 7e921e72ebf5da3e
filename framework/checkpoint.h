#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "framework/random.h"
#include "framework/tensor.h"

namespace attune {

/// Dotted names with their tensors: what modules and optimizers export and import.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// All of a training run in one HDF5 file: a tree of named tensors, texts and lists of texts. Knows nothing about
/// modules or optimizers; who saves and who loads agree on the paths. Those that Attune's programs use:
///
///     model/encoder/block0/attn/q/weight   parameters and buffers; the dots of a name become groups
///     optimizer/<parameter>/<slot>         what the optimizer keeps per parameter, by the parameter's name
///     average/<parameter>                  the moving average of the weights
///     checkpoints/<i>/<parameter>          weights of earlier evaluations, whose mean is used
///     config                               text: JSON
///     vocabulary                           list: the tokens by index
///     codec/<side>                         a text codec's bytes, as int64
///     state/schedule, state/progress       texts: JSON; the schedule, the position in the data and its shuffling
///     state/random/<name>                  random streams
///     history                              list: one JSON object per evaluation
///
///     Checkpoint checkpoint;
///     checkpoint.put_tensors("model", model.state_dict());
///     checkpoint.put_text("config", config);
///     checkpoint.save("last.h5");
///     ...
///     const auto checkpoint = Checkpoint::load("last.h5");
///     model.load_state_dict(checkpoint.tensors("model"));
///
/// A path is made of non-empty parts joined by '/', without one at the beginning, 4096 bytes at most. Paths and texts
/// are UTF-8 without NUL.
///
/// The file. Every entry is a chunked dataset with Fletcher32 checksums and two attributes, `dtype` ("float32",
/// "float64", "bfloat16", "int64", "bool" or "text") and `shape`. bfloat16 is stored as its bits in uint16, bool as
/// uint8; scalars and texts are stored with one element and `shape` [], lists with `shape` [n]: texts as strings of one
/// length, filled up with NUL, or, of a list with a text so long that this would waste most of the space, all texts in
/// one dataset of uint8, each followed by a NUL. Attributes are strings of fixed length too: the file has no heap. (In
/// format 1, which is read as well, they have variable length, and so have the texts of such a list.) Tensors that
/// share their memory are stored once, under several hard links. The attributes of the root group are `format_version`,
/// `library_version` and `sha256`, the content's digest: for every entry, ordered by the bytes of its path, the text
/// "<path>\n<dtype>\n<extents joined by ,>\n", then the elements, row-major, little-endian; of texts, each followed by
/// a NUL. HDF5 begins after a block of 512 bytes (HDF5's "user block") that names the format and carries the length and
/// the SHA-256 of all that follows: no byte of a damaged file reaches the HDF5 library. Files that were made to do harm
/// have the right SHA-256: the HDF5 library reads in a child process with limits of time and memory.
class Checkpoint {
 public:
  static constexpr int kFormatVersion = 2;

  Checkpoint();

  using Value = std::variant<Tensor, std::string, std::vector<std::string>>;
  struct Entry {
    std::string path;
    Value value;

    /// As in the file's attributes: the dtype's name or "text"; the extents, none for a text.
    std::string dtype() const;
    std::vector<int64_t> shape() const;
    /// Of the elements alone.
    int64_t bytes() const;
  };

  // Filling. Each throws ValueError for a path that is malformed, taken, or inside or above another entry, and for
  // texts that are not UTF-8. Tensors are kept as handles: their values are read by save().

  void put(std::string path, const Tensor& tensor);
  void put_text(std::string path, std::string text);
  void put_list(std::string path, std::vector<std::string> list);
  void put_random(std::string path, RandomState state);
  /// Every tensor below `prefix`, the dots of its name turned into groups.
  void put_tensors(std::string_view prefix, const NamedTensors& tensors);

  // Looking. Each throws FormatError that names the file when there is no such entry or it is of another kind.

  bool contains(std::string_view path) const;
  Tensor tensor(std::string_view path) const;
  const std::string& text(std::string_view path) const;
  const std::vector<std::string>& list(std::string_view path) const;
  RandomState random(std::string_view path) const;
  /// The tensors below `prefix` under dotted names, in the order in which they were put; empty when there are none.
  NamedTensors tensors(std::string_view prefix) const;
  /// Everything, in the order in which it was put, group by group once loaded.
  const std::vector<Entry>& entries() const { return entries_; }

  // Files.

  /// Writes a temporary file beside `path`, flushes it to the disk and renames it: a crash at any moment, or a full
  /// disk, leaves the old file or the new one. The bytes depend on nothing but the content. Throws IoError.
  void save(const std::string& path) const;
  /// Throws IoError when the file cannot be read, FormatError when it is not a checkpoint, was cut, was damaged or is
  /// of a newer format. Safe for files from elsewhere: whatever they hold, it takes no more memory than a small
  /// multiple of their size. Starts a child process for the time of reading.
  static Checkpoint load(const std::string& path);

  /// Version of the library that wrote the file this was loaded from; otherwise this library's.
  const std::string& library_version() const { return library_version_; }
  /// Of the file this was loaded from; otherwise the one that save() writes.
  int format_version() const { return format_version_; }
  /// The content's digest, as in the file's attribute: 64 hexadecimal digits.
  std::string sha256() const;

 private:
  void add(std::string path, Value value);
  const Value& find(std::string_view path) const;
  template <class T>
  const T& get(std::string_view path) const;
  Checkpoint host() const;  // every tensor contiguous and on the CPU

  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>> index_;  // path to entry
  std::string source_;                                // for messages
  std::string library_version_;
  int format_version_ = kFormatVersion;
};

/// Two tensors that are one: same memory, shape, strides and element type.
bool same_memory(const Tensor& a, const Tensor& b);

}  // namespace attune
