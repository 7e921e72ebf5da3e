// Kernels on the first CUDA device: those that move bytes as a share of what a copy moves, products and attention in
// TFLOP/s; beside each the same in PyTorch, where that finds the device. Operands are random, and larger than the
// caches.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/kernels/attention.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/gemm.h"
#include "framework/kernels/index.h"
#include "framework/kernels/loss.h"
#include "framework/kernels/norm.h"
#include "framework/kernels/optim.h"
#include "framework/kernels/random.h"
#include "framework/kernels/reduce.h"
#include "framework/kernels/softmax.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/peer.h"
#include "tests/benchmarks/timing.h"

namespace attune::bench {
namespace {

const Device kCuda = Device::cuda();

/// A random tensor on the device, made there of a smaller one: drawing on the host takes long.
Tensor random_numbers(const Shape& shape, DType dtype) {
  constexpr int64_t kDrawn = 1 << 16;
  RandomStream stream(1);
  const Tensor drawn = stream.normal({1, kDrawn}, 0, 1).to(dtype).to(kCuda);
  const int64_t rows = (shape.numel() + kDrawn - 1) / kDrawn;
  return drawn.expand({rows, kDrawn}).contiguous().view({rows * kDrawn}).slice(0, 0, shape.numel()).view(shape);
}

/// Seconds a call takes, many of them behind each other.
double seconds(const std::function<void()>& f) {
  f();
  synchronize(kCuda);
  int calls = 1;
  for (;; calls *= 2) {
    const double begin = now();
    for (int i = 0; i < calls; ++i) f();
    synchronize(kCuda);
    if (now() - begin > 0.05) break;
  }
  std::vector<double> samples;
  for (int sample = 0; sample < 5; ++sample) {
    const double begin = now();
    for (int i = 0; i < calls; ++i) f();
    synchronize(kCuda);
    samples.push_back((now() - begin) / calls);
  }
  return median(samples);
}

double copied_per_second = 0;
std::unique_ptr<Peer> torch;  ///< peers/gpu_kernels.py

/// What a line of the tables measures.
struct Kernel {
  std::string name;  ///< as the peer knows it
  DType dtype;
  Shape shape;
  bool causal = false;

  /// "softmax [8192, 8192]"
  std::string title() const {
    return fmt::format("{}{} [{}]", name, causal ? ", causal" : "", fmt::join(shape.begin(), shape.end(), ", "));
  }
};

/// How long PyTorch takes, and how many times longer than we do. backend: of attention, see the peer.
void print_peer(const Kernel& kernel, double own, const char* backend) {
  if (torch == nullptr) return;
  const nlohmann::json request = {{"op", kernel.name},
                                  {"dtype", dtype_name(kernel.dtype)},
                                  {"shape", std::vector<int64_t>(kernel.shape.begin(), kernel.shape.end())},
                                  {"causal", kernel.causal},
                                  {"backend", backend}};
  const std::optional<std::string> answer = torch->ask(request.dump());
  const nlohmann::json found = nlohmann::json::parse(answer.value_or(""), nullptr, false);
  if (!found.is_object() || !found["s"].is_number()) return;
  const double time = found["s"];
  const bool chosen = std::string_view(backend) == "chosen";
  fmt::print("  torch{} {:10.1f} us {:6.2f} times ours", chosen ? "" : fmt::format(" {}", backend), time * 1e6,
             time / own);
}

void end_line() {
  fmt::print("\n");
  std::fflush(stdout);
}

/// bytes: read and written at least.
void moving(const Kernel& kernel, double bytes, const std::function<void()>& f) {
  const double time = seconds(f);
  if (copied_per_second == 0) copied_per_second = bytes / time;
  fmt::print("{:46} {:9} {:10.1f} us {:8.0f} GB/s {:5.0f} % of a copy", kernel.title(), dtype_name(kernel.dtype),
             time * 1e6, bytes / time * 1e-9, 100 * bytes / time / copied_per_second);
  print_peer(kernel, time, "chosen");
  end_line();
}

void computing(const Kernel& kernel, double operations, const std::function<void()>& f) {
  const double time = seconds(f);
  fmt::print("{:46} {:9} {:10.1f} us {:8.1f} TFLOP/s", kernel.title(), dtype_name(kernel.dtype), time * 1e6,
             operations / time * 1e-12);
  print_peer(kernel, time, "chosen");
  if (kernel.name.starts_with("attention") && kernel.dtype == DType::kBFloat16) print_peer(kernel, time, "cudnn");
  end_line();
}

void measure_rows(DType dtype) {
  const auto element = static_cast<double>(dtype_size(dtype));
  for (const int64_t width : {int64_t{512}, int64_t{8192}}) {
    const int64_t rows = (int64_t{1} << 26) / width;
    const double bytes = static_cast<double>(rows * width) * element;
    const Tensor x = random_numbers({rows, width}, dtype);
    const Tensor dy = random_numbers({rows, width}, dtype);
    Tensor y = Tensor::empty_like(x), dx = Tensor::empty_like(x), sum = Tensor::empty_like(x);
    const auto named = [&](const char* name) { return Kernel{name, dtype, {rows, width}}; };
    moving(named("softmax"), 2 * bytes, [&] { kernels::softmax(x, y); });
    moving(named("softmax_backward"), 3 * bytes, [&] { kernels::softmax_backward(y, dy, dx); });
    Tensor gain = random_numbers({width}, dtype);
    Tensor stats = Tensor::empty({rows, 3}, accumulation_dtype(dtype), kCuda);
    Tensor none, dgain = Tensor::empty_like(gain), dshift = Tensor::empty_like(gain);
    moving(named("layer norm"), 2 * bytes,
           [&] { kernels::add_layer_norm(x, Tensor(), {}, gain, gain, 1e-5, none, y, stats); });
    moving(named("dropout + add + layer norm"), 4 * bytes, [&] {
      kernels::add_layer_norm(x, dy, {0.1, {1, 0}}, gain, gain, 1e-5, sum, y, stats);
    });
    moving(named("layer norm backward"), 3 * bytes, [&] {
      kernels::add_layer_norm_backward(dy, Tensor(), x, stats, gain, {}, dx, none, dgain, false, dshift, false);
    });
    const Tensor targets = Tensor::zeros({rows}, DType::kInt64, kCuda);
    Tensor loss = Tensor::empty({rows}, accumulation_dtype(dtype), kCuda),
           log_sums = Tensor::empty({rows, 2}, loss.dtype(), kCuda);
    moving(named("cross-entropy"), bytes, [&] { kernels::cross_entropy(x, targets, Tensor(), {}, loss, log_sums); });
    moving(named("cross-entropy backward"), 2 * bytes,
           [&] { kernels::cross_entropy_backward(x, targets, Tensor(), {}, log_sums, Tensor(), Tensor(), 1, dx); });
    Tensor columns = Tensor::empty({width}, dtype, kCuda), lines = Tensor::empty({rows, 1}, dtype, kCuda);
    moving(named("sum of columns"), bytes, [&] { kernels::sum_to(x, columns); });
    moving(named("sum of rows"), bytes, [&] { kernels::sum_to(x, lines); });
    moving(named("add a row"), 2 * bytes, [&] { kernels::add(x, gain, y); });
  }
}

void measure_elements(DType dtype) {
  const int64_t n = int64_t{1} << 26;
  const double bytes = static_cast<double>(n) * static_cast<double>(dtype_size(dtype));
  const Tensor x = random_numbers({n}, dtype);
  Tensor y = Tensor::empty_like(x);
  const auto named = [&](const char* name) { return Kernel{name, dtype, {n}}; };
  moving(named("copy"), 2 * bytes, [&] { kernels::copy(x, y); });
  moving(named("gelu"), 2 * bytes, [&] { kernels::gelu(x, y); });
  moving(named("dropout"), 2 * bytes, [&] { kernels::dropout(x, {1, 0}, 0.1, y); });
  const Tensor square = x.view({8192, 8192});
  Tensor turned = y.view({8192, 8192});
  moving({"transposed copy", dtype, {8192, 8192}}, 2 * bytes, [&] { kernels::copy(square.transpose(0, 1), turned); });
  Tensor value = x.clone(), gradient = random_numbers({n}, dtype), m = Tensor::zeros_like(x), v = Tensor::zeros_like(x);
  const FlatRange range{0, n, 1, 1e-3, 0, false};
  moving(named("Adam"), 7 * bytes, [&] { kernels::adam_step(value, gradient, m, v, {&range, 1}, {}, {}); });
}

void measure_products(DType dtype, int64_t n) {
  const Tensor a = random_numbers({n, n}, dtype);
  const Tensor b = random_numbers({n, n}, dtype);
  Tensor c = Tensor::empty_like(a);
  const double operations = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  computing({"product", dtype, {n, n}}, operations, [&] { kernels::matmul(a, b, {}, c); });
  computing({"product, b transposed", dtype, {n, n}}, operations,
            [&] { kernels::matmul(a, b, {.transpose_b = true}, c); });
  computing({"product, exact zeros", dtype, {n, n}}, operations,
            [&] { kernels::matmul(a, b, {.exact_zeros = true}, c); });
}

void measure_attention(DType dtype, int64_t length, int64_t size, bool causal) {
  const int64_t batch = std::max<int64_t>(1, 16384 / length), heads = 2048 / size;
  const Shape shape{batch, length, heads, size};
  const Tensor q = random_numbers(shape, dtype), k = random_numbers(shape, dtype), v = random_numbers(shape, dtype);
  const Tensor dy = random_numbers(shape, dtype);
  Tensor y = Tensor::empty_like(q), dq = Tensor::empty_like(q), dk = Tensor::empty_like(q), dv = Tensor::empty_like(q);
  Tensor log_sums = Tensor::empty({2, batch, heads, length}, accumulation_dtype(dtype), kCuda), none;
  AttentionSpec spec;
  spec.mask.causal = causal;
  spec.scale = 0.1;
  const double operations = 4.0 * static_cast<double>(shape.numel() * length) * (causal ? 0.5 : 1);
  computing({"attention", dtype, shape, causal}, operations,
            [&] { kernels::attention(q, k, v, none, spec, y, log_sums, none); });
  computing({"attention backward", dtype, shape, causal}, 2.5 * operations,
            [&] { kernels::attention_backward(dy, q, k, v, none, spec, y, log_sums, none, dq, dk, dv, none); });
}

}  // namespace

int run_cuda(const Comparison& comparison) {
  require_device(kCuda);
  if (comparison.with_peer) {
    const std::vector<std::string> command = {comparison.python, comparison.peers + "/gpu_kernels.py"};
    torch = std::make_unique<Peer>(command, std::vector<std::string>());
  }
  fmt::print("{}\n", device_summary(kCuda));
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    copied_per_second = 0;
    measure_elements(dtype);
    measure_rows(dtype);
    measure_products(dtype, 8192);
    for (const int64_t size : {int64_t{64}, int64_t{128}}) {
      for (const int64_t length : {int64_t{512}, int64_t{2048}, int64_t{16384}}) {
        for (const bool causal : {false, true}) measure_attention(dtype, length, size, causal);
      }
    }
  }
  torch.reset();
  const MemoryStats memory = memory_stats(kCuda);
  fmt::print("{} MiB at most in use, {} MiB reserved in {} allocations\n", memory.peak_bytes_in_use >> 20,
             memory.bytes_reserved >> 20, memory.system_allocations);
  return 0;
}

}  // namespace attune::bench
