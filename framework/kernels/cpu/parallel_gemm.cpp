#include <algorithm>

#include "framework/kernels/cpu/accumulate.h"
#include "framework/kernels/cpu/deep_gemm.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/storage.h"

namespace attune::cpu {
namespace {

// Below some 100 k multiplications a hand-off costs more than it saves.
constexpr int64_t kWork = 100'000;

int64_t grain_of(int64_t work) { return std::max<int64_t>(1, kWork / std::max<int64_t>(work, 1)); }

template <class T>
void split_rows(const Product<T>& p) {
  parallel_for(p.m, grain_of(p.n * p.k), [&](int64_t begin, int64_t end, int64_t) {
    Product<T> part = p;
    part.m = end - begin;
    part.a = p.a.at(begin, 0);
    part.c = p.c + begin * p.ldc;
    struct Shifted {
      RowEpilogue epilogue;
      int64_t begin;
    } shifted{p.epilogue, begin};
    if (p.epilogue.run != nullptr) {
      part.epilogue = {[](void* raw, int64_t from, int64_t to) {
                         const auto& s = *static_cast<Shifted*>(raw);
                         s.epilogue.run(s.epilogue.context, s.begin + from, s.begin + to);
                       },
                       &shifted};
    }
    gemm(part);
  });
}

/// run(part) for ranges of columns.
template <class T, class Run>
void split_columns(const Product<T>& p, Run&& run) {
  constexpr int64_t kStep = 64;
  parallel_for((p.n + kStep - 1) / kStep, grain_of(p.m * p.k * kStep), [&](int64_t begin, int64_t end, int64_t) {
    Product<T> part = p;
    const int64_t j = begin * kStep;
    part.n = std::min(end * kStep, p.n) - j;
    part.b = p.b.at(0, j);
    part.c = p.c + j;
    if (p.bias != nullptr) part.bias = p.bias + j;
    run(part);
  });
}

// A long sum with a small result, the gradient of a weight: slices of the sum, added in order. Every thread then reads
// rows that it wrote itself a moment ago, and nothing is packed twice. How many slices there are depends on the product
// alone, and so do the sums.
template <class T>
void split_depth(const Product<T>& p, int64_t slices) {
  const int64_t size = p.m * p.n;
  const StorageRef memory = StorageRef::allocate(static_cast<size_t>((slices - 1) * size) * sizeof(T), Device::cpu());
  T* partial = reinterpret_cast<T*>(memory->data);
  parallel_for(slices, 1, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t slice = begin; slice < end; ++slice) {
      const int64_t from = p.k * slice / slices;
      Product<T> part = p;
      part.k = p.k * (slice + 1) / slices - from;
      part.a = p.a.at(0, from);
      part.b = p.b.at(from, 0);
      if (slice > 0) {
        part.c = partial + (slice - 1) * size;
        part.ldc = p.n;
        part.accumulate = false;
      }
      gemm_of_any_depth(part);
    }
  });
  parallel_for(p.m, std::max<int64_t>(1, 16384 / p.n), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t slice = 0; slice + 1 < slices; ++slice) {
      for (int64_t i = begin; i < end; ++i) {
        add_to(partial + slice * size + i * p.n, p.c + i * p.ldc, p.n);
      }
    }
  });
}

template <class T>
void split(const Product<T>& p) {
  constexpr int64_t kSlice = 1024;
  const bool plain = p.bias == nullptr && !p.relu && p.epilogue.run == nullptr;
  constexpr int64_t kFewRows = 64;  // of C, up to which packing B costs more than it saves
  const int64_t slices = std::min<int64_t>(p.k / kSlice / 2 * 2, 16);
  if (plain && slices >= 2 && p.k >= 2 * std::max(p.m, p.n)) {
    split_depth(p, slices);
  } else if (p.m <= kFewRows && p.b.col != 1 && !p.exact_zeros) {
    split_columns(p, [](const Product<T>& part) { gemm_few_rows(part); });
    if (p.epilogue.run != nullptr) p.epilogue.run(p.epilogue.context, 0, p.m);
  } else if (p.n > p.m && p.epilogue.run == nullptr) {
    split_columns(p, [](const Product<T>& part) { gemm(part); });
  } else {
    split_rows(p);
  }
}

}  // namespace

void parallel_gemm(const Product<float>& product) { split(product); }
void parallel_gemm(const Product<double>& product) { split(product); }

}  // namespace attune::cpu
