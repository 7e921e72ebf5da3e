#include <algorithm>
#include <iterator>
#include <limits>
#include <mutex>

#include "framework/checkpoint.h"
#include "framework/checkpoint_format.h"
#include "framework/child_process.h"
#include "framework/fail.h"
#include "framework/hdf5_handle.h"
#include "framework/text.h"

namespace attune {
namespace {

using namespace checkpoint_format;

constexpr uint64_t kMaxAttributeBytes = 256;

/// Takes the content of a file from the process that read it and which may be in the hands of that file. More than the
/// file has bytes is never taken.
class ContentReader {
 public:
  ContentReader(const VerifiedFile& file, ByteSource& source)
      : who_(file.name()),
        source_(source),
        left_(file.size()),
        left_for_counts_(file.size()),
        left_for_paths_(kPathBytes + 4 * file.size()) {}

  /// False at the end.
  bool next(std::string& path, Checkpoint::Value& value, const std::vector<Checkpoint::Entry>& before) {
    const uint64_t part = source_.number();
    if (part == static_cast<uint64_t>(Part::kEnd)) return false;
    path = source_.text(std::min(left_for_paths_, uint64_t{kMaxPathBytes}));
    left_for_paths_ -= path.size();
    where_ = fmt::format("{}: '{}'", who_, shown(path));
    switch (static_cast<Part>(part)) {
      case Part::kTensor:
        value = tensor();
        return true;
      case Part::kText:
        value = text();
        return true;
      case Part::kList:
        value = list();
        return true;
      case Part::kSame: {
        const uint64_t index = source_.number();
        require<FormatError>(index < before.size(), "{}: is the same as an entry that is not there", where_);
        value = before[index].value;
        // The handles are another tensor's, the texts are copies.
        if (!std::holds_alternative<Tensor>(value)) take(static_cast<uint64_t>(before[index].bytes()));
        return true;
      }
      default:
        fail<FormatError>("{}: an entry of the unknown kind {}", where_, part);
    }
  }

 private:
  static constexpr uint64_t kPathBytes = uint64_t{1} << 26;

  void take(uint64_t bytes) {
    require<FormatError>(bytes <= left_, "{}: more bytes than the file has", where_);
    left_ -= bytes;
  }

  Tensor tensor() {
    const uint64_t dtype = source_.number();
    require<FormatError>(dtype < std::size(kDTypes), "{}: the unknown dtype {}", where_, dtype);
    const uint64_t rank = source_.number();
    require<FormatError>(rank <= Shape::kMaxRank, "{}: rank {}, at most {} is possible", where_, rank, Shape::kMaxRank);
    Shape shape;
    bool empty = false;
    uint64_t bytes = dtype_size(static_cast<DType>(dtype));
    for (uint64_t axis = 0; axis < rank; ++axis) {
      const uint64_t extent = source_.number();
      const uint64_t factor = std::max<uint64_t>(extent, 1);
      require<FormatError>(extent <= uint64_t{INT64_MAX} && bytes <= uint64_t{INT64_MAX} / factor,
                           "{}: extents that no tensor has", where_);
      bytes *= factor;
      empty = empty || extent == 0;
      shape.push_back(static_cast<int64_t>(extent));
    }
    if (empty) bytes = 0;
    take(bytes);
    Tensor out = Tensor::empty(shape, static_cast<DType>(dtype));
    source_.bytes(out.raw(), bytes);
    if (out.dtype() == DType::kBool) {
      // Others are no bool at all in C++.
      const std::byte* values = out.raw();
      const bool sound = std::all_of(values, values + bytes, [](std::byte byte) { return byte <= std::byte{1}; });
      require<FormatError>(sound, "{}: a bool that is neither 0 nor 1", where_);
    }
    return out;
  }

  std::string text() {
    std::string out = source_.text(left_);
    take(out.size());
    require<FormatError>(is_utf8_text(out), "{}: a text that is not UTF-8 without NUL", where_);
    return out;
  }

  std::vector<std::string> list() {
    const uint64_t count = source_.number();
    // Each has a byte at least in the file, its end or its row.
    require<FormatError>(count <= left_for_counts_, "{}: more texts than the file has bytes", where_);
    left_for_counts_ -= count;
    std::vector<std::string> out;
    for (uint64_t i = 0; i < count; ++i) out.push_back(text());
    return out;
  }

  const std::string& who_;
  ByteSource& source_;
  uint64_t left_;  // bytes of the file that nothing has come of yet
  uint64_t left_for_counts_;
  uint64_t left_for_paths_;  // these are put together, of links that may be many
  std::string where_;
};

/// Room for the file and twice its largest entry. Time for a machine on which much else is at work, whose clock of
/// computing runs on while another takes the processor away; HDF5 itself needs a few milliseconds.
ChildLimits limits(const VerifiedFile& file) {
  constexpr uint64_t kMemoryBytes = uint64_t{1} << 28;
  constexpr uint64_t kSeconds = 10;
  constexpr uint64_t kBytesPerSecond = uint64_t{1} << 25;
  return {.memory_bytes = kMemoryBytes + 3 * file.size(), .cpu_seconds = kSeconds + file.size() / kBytesPerSecond};
}

}  // namespace

Checkpoint Checkpoint::load(const std::string& path) {
  const VerifiedFile file(path);
  Checkpoint out;
  out.source_ = file.name();
  out.format_version_ = file.version();
  std::string expected;
  // The child begins with the state of the HDF5 library that this process has.
  const std::lock_guard lock(hdf5::mutex());
  run_in_child(
      file.name(), limits(file), [&](ByteSink& sink) { send_content(file, sink); },
      [&](ByteSource& source) {
        out.library_version_ = source.text(kMaxAttributeBytes);
        ContentReader reader(file, source);
        std::string entry_path;
        for (Value value; reader.next(entry_path, value, out.entries_);) {
          try {
            out.add(std::move(entry_path), std::move(value));
          } catch (const ValueError& error) {
            fail<FormatError>("{}: {}", file.name(), error.what());
          }
        }
        expected = source.text(kMaxAttributeBytes);
      });
  const std::string found = content_sha256(out.entries_);
  require<FormatError>(found == expected, "{}: its content has the SHA-256 {}, expected {}", file.name(), found,
                       shown(expected));
  return out;
}

}  // namespace attune
