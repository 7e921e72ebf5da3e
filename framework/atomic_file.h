#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace attune {

/// Replaces the content of a file as one step: writes `<path>.tmp` beside it, flushes it to the disk, renames it,
/// flushes the directory. A crash at any moment leaves the old file or the new one; the temporary file of a crashed
/// process is taken over by the next write. Pieces are written one after the other. Throws IoError naming the file and
/// the system's reason, also when `path` is something else than a regular file or another process is just writing it;
/// the old file stays and the temporary one is removed.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::string_view> pieces);
inline void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  write_file_atomically(path, std::span(&content, 1));
}

}  // namespace attune
