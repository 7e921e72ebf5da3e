// Any bytes behind a header with their digest are a checkpoint or an Error, whatever HDF5 makes of them. The input: a
// byte for the format, HDF5's bytes.

#include "framework/checkpoint.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "framework/checkpoint_format.h"
#include "framework/error.h"
#include "framework/sha256.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/seeds.h"

using namespace attune;

namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return bytes.substr(std::min(bytes.size(), checkpoint_format::kHeaderBytes));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  Checkpoint checkpoint;
  checkpoint.put("model/weight", Tensor::full({2, 3}, 0.5));
  checkpoint.put("flag", Tensor::zeros({2}, DType::kBool));
  checkpoint.put_text("config", R"({"dim": 3})");
  checkpoint.put_list("vocabulary", {"<pad>", "", "ä"});
  const std::string path = std::filesystem::temp_directory_path() / ("attune-fuzz-" + std::to_string(getpid()));
  checkpoint.save(path);
  testing::write_seeds(
      *argc, *argv,
      {'\2' + content_of(path), '\1' + content_of(ATTUNE_SOURCE_DIR "/tests/framework/checkpoint_format1.h5")});
  std::filesystem::remove(path);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view content(reinterpret_cast<const char*>(data) + 1, size - 1);
  const int version = data[0] % 2 == 1 ? 1 : 2;
  Sha256 digest;
  digest.update(content);
  const std::string header = checkpoint_format::header(content.size(), digest.finish(), version);
  const testing::MemoryFile file(header + std::string(content));
  try {
    const Checkpoint loaded = Checkpoint::load(file.path());
    int64_t bytes = 0;
    for (const Checkpoint::Entry& entry : loaded.entries()) bytes += entry.bytes();
    if (loaded.sha256().size() != 64) std::abort();
  } catch (const Error& error) {
    testing::require_message(error.what());
  }
  return 0;
}
