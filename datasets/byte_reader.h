#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace attune {

/// What a file holds when it begins as a gzip stream does.
enum class Unzip : uint8_t { kNo, kWhereZipped };

/// Bytes of a file or of memory, from the first to the last.
///
/// A path may lead to a regular file or to a pipe, so that process substitution works: --data <(zcat a.gz). A pipe that
/// nobody writes to within three seconds is an error, as are devices and sockets: they would hold the reader up, or
/// never end.
///
/// Throws IoError for a path that cannot be opened or read; FormatError for a gzip stream that is damaged, truncated or
/// followed by anything else than another one (zeros as of a tape are passed over, as gzip does).
class ByteReader {
 public:
  explicit ByteReader(std::string path, Unzip unzip = Unzip::kWhereZipped);
  /// The same of bytes in memory; name: how errors call them.
  static ByteReader from_memory(std::string bytes, std::string name, Unzip unzip = Unzip::kWhereZipped);
  ~ByteReader();
  ByteReader(ByteReader&&) noexcept;
  ByteReader& operator=(ByteReader&&) noexcept;

  /// Fills `out` as far as there are bytes; fewer than `size` only at the end.
  size_t read(char* out, size_t size);
  /// The bytes that come next, at most `most` of them and fewer only at the end; they are read again afterwards.
  std::string_view peek(size_t most);

  const std::string& path() const { return path_; }
  bool is_folder() const;
  /// Of a regular file or memory, as it lies there; -1 for a pipe.
  int64_t stored_bytes() const;

 private:
  struct State;

  ByteReader(std::string path, std::unique_ptr<State> state);

  std::string path_;
  std::unique_ptr<State> state_;
};

}  // namespace attune
