// CUDA devices: what is said where there is none, and the way of a tensor to one and back. Cases tagged [cuda] need a
// CUDA device; "on an emulated device" runs them all without one.

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "autograd/optim/adam.h"
#include "autograd/optim/average.h"
#include "framework/checkpoint.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/optim.h"
#include "framework/pending_copy.h"
#include "layers/linear.h"
#include "tests/support/captioning.h"
#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"
#include "tests/support/process.h"
#include "tests/support/sentiment.h"
#include "tests/support/tensors.h"
#include "tests/support/translation.h"

namespace attune::testing {
namespace {

TEST_CASE("what keeps CUDA from being used is said in one line", "[device][errors]") {
  const TemporaryDirectory directory;
  struct Case {
    std::string library;
    const char* fails_at;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases = {
      {directory / "nowhere.so", "", {"cuda:0: the CUDA backend cannot be loaded", "nowhere.so"}},
      {directory.write("empty.so", ""), "", {"cuda:0: the CUDA backend cannot be loaded", "empty.so"}},
      {"libm.so.6", "", {"cuda:0: libm.so.6 is not Attune's CUDA backend"}},
      {EmulatedDevice::library(),
       "interface",
       {"another build", "interfaces another and " ATTUNE_CUDA_INTERFACE, "together"}},
      {EmulatedDevice::library(), "driver", {"cuda:0: no driver, as asked for"}},
  };
  for (const Case& c : cases) {
    const EnvironmentVariable library("ATTUNE_CUDA_LIBRARY", c.library);
    const EnvironmentVariable failing("ATTUNE_EMULATED", c.fails_at);
    const Finished finished = run("attune-sentiment", {"eval", "--checkpoint", "none.h5", "--device", "cuda"});
    INFO(finished.err);
    CHECK(finished.status == 1);
    CHECK(finished.err.starts_with("error: "));
    CHECK(finished.err.find('\n') == finished.err.size() - 1);
    for (const std::string& part : c.says) CHECK(finished.err.find(part) != std::string::npos);
    // Where nothing is asked for, nothing is missing.
    const Finished automatic = run("attune-sentiment", {"eval", "--checkpoint", "none.h5", "--device", "auto"});
    CHECK(automatic.err.find("none.h5") != std::string::npos);
  }
}

TEST_CASE("devices have names", "[device][errors]") {
  CHECK(parse_device("cpu") == Device::cpu());
  CHECK(parse_device("cuda") == Device::cuda());
  CHECK(parse_device("cuda:3") == Device::cuda(3));
  CHECK((parse_device("auto").is_cpu()) == (cuda_device_count() == 0));
  for (const char* name : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999", "1"}) {
    const std::string text = error_text<ValueError>([&] { parse_device(name); });
    CHECK(text.find("device '" + std::string(name) + "' is unknown") == 0);
  }
  CHECK(device_summary(Device::cpu()) == cpu_summary());
  synchronize(Device::cpu());
}

/// The tests that `filter` names, on an emulated device.
void run_emulated(const char* filter) {
  if (std::getenv("ATTUNE_CUDA_LIBRARY") != nullptr) SKIP("ATTUNE_CUDA_LIBRARY chooses a backend");
  const EmulatedDevice emulated;
  const Finished finished = run("attune-tests", {filter});
  INFO(finished.out << finished.err);
  CHECK(finished.status == 0);
  CHECK(finished.out.find("All tests passed") != std::string::npos);
}

TEST_CASE("tests of CUDA devices pass on an emulated one", "[device]") {
  run_emulated("[cuda]~[gradcheck]~[sizes]~[alone]");
  run_emulated("[cuda][alone]");
}

TEST_CASE("tests of CUDA devices at larger sizes pass on an emulated one", "[device][release]") {
  run_emulated("[sizes]");  // [gradcheck] calls the CPU's kernels a hundred thousand times
}

TEST_CASE("a program trains on a CUDA device, and what it learnt is used on the CPU", "[device]") {
  const EmulatedDevice emulated;
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", review_lines(40));
  const Finished trained = run("attune-sentiment", small_training(data, directory / "run", {"--device", "cuda"}));
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  std::vector<std::string> results;
  for (const char* device : {"cuda", "cpu"}) {
    const Finished finished = run(
        "attune-sentiment", {"eval", "--checkpoint", directory / "run/best.h5", "--data", data, "--device", device});
    INFO(finished.err);
    CHECK(finished.status == 0);
    results.push_back(finished.out);
  }
  CHECK(results[0] == results[1]);
  CHECK(run("attune-sentiment", {"predict", "--checkpoint", directory / "run/best.h5", "--text", "not bad at all .",
                                 "--html", directory / "page.html", "--device", "cuda:1"})
            .status == 0);
}

TEST_CASE("translation is learnt and done on a CUDA device, in bfloat16 too", "[device]") {
  const EmulatedDevice emulated;
  const TemporaryDirectory directory;
  const std::string data = write_pairs(directory, "data", 40), out = directory / "run";
  const Finished trained =
      run("attune-translation", small_translation_training(data, out, {"--device", "cuda", "--precision", "bf16"}));
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK(read_bytes(out + "/config.json").find("\"precision\": \"bf16\"") != std::string::npos);
  for (const char* precision : {"float32", "bf16"}) {
    std::vector<std::string> results;
    for (const char* device : {"cuda", "cpu"}) {
      const Finished finished =
          run("attune-translation",
              {"translate", "--checkpoint", out + "/best.h5", "--device", device, "--precision", precision},
              "the cat sleeps .\n");
      INFO(finished.err);
      CHECK(finished.status == 0);
      results.push_back(finished.out);
    }
    CHECK(results[0] == results[1]);
  }
  // Where and in what it goes on is open; what else it is asked for is not.
  CHECK(run("attune-translation", {"train", "--resume", "--out", out, "--precision", "float32"}).status == 0);
  CHECK(run("attune-translation", {"train", "--resume", "--out", out, "--seed", "9"}).status == 2);
  CHECK(run("attune-translation", {"train", "--out", out, "--precision", "fp16"}).status == 2);
}

TEST_CASE("captions are learnt and written on a CUDA device", "[device]") {
  const EmulatedDevice emulated;
  const TemporaryDirectory directory;
  const std::string picture = directory.write("picture.png", encode_png(gradient_picture(40, 60)));
  // Every part that is the model's own: of convolutions and hard attention, of patches, of what sees nothing.
  const std::vector<std::vector<std::string>> models = {{"model.attention=hard-image"},
                                                        {"model.encoder=patch", "model.decoder=transformer"},
                                                        {"model.blind=true", "training.doubly_stochastic=1"}};
  for (size_t i = 0; i < models.size(); ++i) {
    const std::string out = directory / ("run" + std::to_string(i));
    const Finished trained =
        run("attune-captioning", small_caption_training(out, models[i], {"--epochs", "1", "--device", "cuda"}));
    INFO(models[i][0] << '\n' << trained.err);
    REQUIRE(trained.status == 0);
    std::vector<std::string> results;
    for (const char* device : {"cuda", "cpu"}) {
      const Finished finished = run("attune-captioning", {"caption", "--checkpoint", out + "/best.h5", "--device",
                                                          device, "--html", out + "/page.html", picture});
      INFO(finished.err);
      CHECK(finished.status == 0);
      results.push_back(finished.out);
    }
    CHECK(results[0] == results[1]);
  }
}

TEST_CASE("gradients of all layers are checked on a CUDA device", "[device][release]") {
  const EmulatedDevice emulated;
  const Finished finished = run("attune-gradcheck", {"--all", "--device", "cuda", "--seconds", "1"});
  INFO(finished.out << finished.err);
  CHECK(finished.status == 0);
  CHECK(finished.out.find(" on cuda:0 ") != std::string::npos);
}

/// What a training run saves, of a small layer.
struct Run {
  explicit Run(Device where)
      : device(where), optimizer(placed().named_parameters()), average(layer.named_parameters(), 0.9) {}

  Module& placed() {
    layer.to(DType::kFloat64);
    layer.to(device);
    return layer;
  }
  void step(uint64_t seed) {
    const Variable x(random_tensor({5, 3}, DType::kFloat64, seed).to(device));
    mean(square(layer(x))).backward();
    optimizer.step();
    average.update();
  }
  void save(const std::string& file) const {
    Checkpoint checkpoint;
    checkpoint.put_tensors("model", layer.state_dict());
    checkpoint.put_tensors("optimizer", optimizer.state());
    checkpoint.put_tensors("average", average.state());
    checkpoint.save(file);
  }
  void load(const std::string& file) {
    const Checkpoint checkpoint = Checkpoint::load(file);
    layer.load_state_dict(checkpoint.tensors("model"));
    optimizer.load_state(checkpoint.tensors("optimizer"));
    average.load_state(checkpoint.tensors("average"));
  }

  Device device;
  Linear layer{3, 2};
  AdamW optimizer;
  WeightAverage average;
};

TEST_CASE("what was saved on one device goes on on another", "[device][cuda]") {
  const Device cuda = cuda_or_skip();
  const TemporaryDirectory directory;
  for (const auto& [from, to] : {std::pair(cuda, Device::cpu()), std::pair(Device::cpu(), cuda)}) {
    INFO(from.to_string() << " to " << to.to_string());
    Run begun(from);
    for (uint64_t seed = 0; seed < 3; ++seed) begun.step(seed);
    begun.save(directory / "run.h5");
    Run other(to);
    other.load(directory / "run.h5");
    begun.step(9);
    other.step(9);
    const NamedTensors wanted = begun.average.state(), got = other.average.state();
    REQUIRE(wanted.size() == got.size());
    for (size_t i = 0; i < got.size(); ++i) CHECK(max_difference(got[i].second, wanted[i].second) <= 1e-12);
    CHECK(other.layer.weight().device() == to);
    CHECK(max_difference(other.layer.weight().value(), begun.layer.weight().value()) <= 1e-12);
  }
}

TEST_CASE("tensors go to a CUDA device and come back", "[device][cuda]") {
  const Device cuda = cuda_or_skip();
  INFO(device_summary(cuda));
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt64, DType::kBool}) {
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{3, 5, 2}, Shape{0, 4}, Shape{1000, 33}}) {
      const Tensor x = random_tensor(shape, DType::kFloat32).to(dtype);
      const Tensor far = x.to(cuda);
      CHECK(far.device() == cuda);
      CHECK(far.dtype() == dtype);
      CHECK(same_values(far, x));
      CHECK(same_values(far.clone(), x));
      CHECK(far.to(cuda).storage().get() == far.storage().get());
    }
  }
  const Tensor x = random_tensor({4, 6, 5});
  CHECK(same_values(x.transpose(0, 2).to(cuda), x.transpose(0, 2)));
  CHECK(same_values(x.to(cuda).permute({2, 0, 1}).slice(1, 1, 3), x.permute({2, 0, 1}).slice(1, 1, 3)));
  CHECK(x.to(cuda).select(0, 3).select(0, 2).select(0, 1).item() == x.select(0, 3).select(0, 2).select(0, 1).item());
  Tensor to = Tensor::zeros({2, 4, 6, 5}, DType::kFloat32, cuda);
  to.copy_(x);
  CHECK(max_difference(to.select(0, 1), x) < 1e-6);
}

TEST_CASE("a copy to the host that nobody waits for is the tensor as it was when it began", "[device][cuda]") {
  const Device cuda = cuda_or_skip();
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt64}) {
    for (const Shape& shape : {Shape{}, Shape{5}, Shape{0, 4}, Shape{3, 7, 2}, Shape{400, 300}}) {
      const Tensor x = random_tensor(shape, DType::kFloat32).to(dtype);
      Tensor far = x.to(cuda);
      PendingCopy dropped(far);
      PendingCopy begun(far), turned(shape.rank() == 3 ? far.transpose(0, 2) : far);
      far.fill_(9);
      dropped = PendingCopy(far);
      PendingCopy moved = std::move(begun);
      for (int time = 0; time < 2; ++time) {
        CHECK(moved.get().device().is_cpu());
        CHECK(same_values(moved.get(), x));
      }
      CHECK(same_values(turned.get(), shape.rank() == 3 ? x.transpose(0, 2) : x));
      CHECK(same_values(dropped.get(), Tensor::full(shape, 9, dtype)));
    }
  }
  const Tensor near = random_tensor({3});
  CHECK(PendingCopy(near).get().raw() == near.raw());
  CHECK_FALSE(PendingCopy().get().defined());
}

TEST_CASE("every pair of element types converts on a CUDA device as on the CPU", "[device][cuda]") {
  const Device cuda = cuda_or_skip();
  const Tensor values = Tensor::from(std::vector<double>{0, -1, 1.5, 2, 3.14159, -250.25, 1e6, 0.1, 5e-8}, {3, 3});
  const DType dtypes[] = {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt64, DType::kBool};
  for (const DType from : dtypes) {
    for (const DType to : dtypes) {
      INFO(dtype_name(from) << " to " << dtype_name(to));
      const Tensor x = values.to(from);
      CHECK(same_values(x.to(cuda).to(to), x.to(to)));
      CHECK(same_values(x.to(cuda).transpose(0, 1).to(to), x.transpose(0, 1).to(to)));
    }
    for (const double value : {0.0, 1.0, -3.25}) {
      const Tensor filled = Tensor::full({5, 4}, value, from, cuda);
      CHECK(same_values(filled, Tensor::full({5, 4}, value, from)));
      filled.transpose(0, 1).slice(0, 1, 3).fill_(2);
      CHECK(same_values(filled.slice(1, 1, 3), Tensor::full({5, 2}, 2, from)));
      CHECK(same_values(filled.slice(1, 3, 4), Tensor::full({5, 1}, value, from)));
    }
  }
}

TEST_CASE("more rows than a grid has along y", "[device][cuda]") {
  const Device cuda = cuda_or_skip();
  const Tensor x = random_tensor({70000, 3}, DType::kFloat32).to(cuda);
  const Tensor row = random_tensor({3}, DType::kFloat32).to(cuda);
  Tensor y = Tensor::empty_like(x);
  kernels::add(x, row, y);
  Tensor expected = Tensor::empty(x.shape());
  kernels::add(x.to(Device::cpu()), row.to(Device::cpu()), expected);
  CHECK(same_values(y, expected));
}

TEST_CASE("operands on two devices are refused by name", "[device][cuda][errors]") {
  const Device cuda = cuda_or_skip();
  const Tensor x = Tensor::zeros({2});
  Tensor y = Tensor::zeros({2}, DType::kFloat32, cuda);
  const std::string text = error_text<DeviceError>([&] { kernels::exp(x, y); });
  CHECK(text.find("exp: operands are on cpu and on cuda:0") == 0);
  const int count = cuda_device_count();
  CHECK(error_text<DeviceError>([&] {
          Tensor::zeros({1}, DType::kFloat32, Device::cuda(count));
        }).find("cuda:" + std::to_string(count) + ": there is no such device") == 0);
}

// Alone in its process: a kernel that was found once is not looked for again.
TEST_CASE("a CUDA kernel that is not there is named", "[device][cuda][errors][alone]") {
  const Device cuda = cuda_or_skip();
  if (!is_emulated(cuda)) SKIP("a backend that has every kernel");
  Tensor a = Tensor::zeros({16}, DType::kFloat32, cuda);
  Tensor b = Tensor::zeros({16}, DType::kFloat32, cuda);
  const EnvironmentVariable failing("ATTUNE_EMULATED", "kernel");
  CHECK(error_text<DeviceError>([&] { kernels::exchange(a, b); }).find("exchange: the CUDA backend has no kernel") ==
        0);
}

TEST_CASE("CUDA memory is kept for reuse, counted, and refused by name", "[device][cuda][memory][errors]") {
  const Device cuda = cuda_or_skip();
  constexpr size_t kMiB = size_t{1} << 20;
  for (const size_t bytes : {size_t{100}, 9 * kMiB}) {
    const std::byte* first = StorageRef::allocate(bytes, cuda)->data;
    const MemoryStats before = memory_stats(cuda);
    CHECK(StorageRef::allocate(bytes, cuda)->data == first);
    CHECK(memory_stats(cuda).system_allocations == before.system_allocations);
    const StorageRef held = StorageRef::allocate(bytes, cuda);
    CHECK(memory_stats(cuda).bytes_in_use >= before.bytes_in_use + bytes);
  }
  const size_t in_use = memory_stats(cuda).bytes_in_use;
  CHECK(error_text<DeviceError>([&] {
          StorageRef::allocate(size_t{1} << 46, cuda);
        }).find("cuda:0 allocator: out of memory") == 0);
  CHECK(memory_stats(cuda).bytes_in_use == in_use);
  // What is cached makes room for what does not fit beside it.
  if (is_emulated(cuda)) {
    StorageRef::allocate(600 * kMiB, cuda);
    StorageRef::allocate(800 * kMiB, cuda);
  }
  release_cached_memory(cuda);
  CHECK(memory_stats(cuda).bytes_reserved < 600 * kMiB);
}

}  // namespace
}  // namespace attune::testing
