#pragma once

// For the .cpp files of convolutions: what every pass over the windows of pictures does, whatever it computes.

#include <algorithm>
#include <cstdint>

#include "framework/kernels/cpu/accumulate.h"
#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/conv_windows.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor.h"

namespace attune::cpu {

/// Slots of scratch memory; products use 0.
enum ConvScratch : int {
  kFrame = 1,
  kRuns = 2,
  kSources = 3,  ///< where windows begin
  kTargets = 4,  ///< where results go, or gradients come from
  kNowhere = 5,  ///< results of rows that only fill up a tile
  kTiles = 6,    ///< transformed windows
  kPlaces = 7,   ///< transformed results, or their gradients
};

/// Items of `work` multiplications each below which a hand-off costs more than it saves.
inline int64_t grain_of(int64_t work) {
  constexpr int64_t kWork = 100'000;
  return std::max<int64_t>(1, kWork / std::max<int64_t>(work, 1));
}

/// Where the results of a pass go: pictures [batch, height, width, pitch] from the first of n channels on.
template <class T>
struct Results {
  T* data;
  int64_t height, width, pitch;
  int64_t n;
};

/// The windows of a pass, block by block, as one thread sees them.
template <class T>
class Reader {
 public:
  Reader(const ConvWindows<T>& windows, const ConvBlocks& blocks, bool in_place)
      : windows_(windows),
        blocks_(blocks),
        memory_(in_place ? nullptr : scratch<T>(kFrame, blocks.frame_size() + kConvSlack)),
        runs_(runs_of(windows, in_place ? windows.width * windows.pitch : blocks.frame_line(),
                      scratch<int64_t>(kRuns, windows.taps()))) {}

  const Runs& runs() const { return runs_; }
  ConvFrame<T> open(const ConvBlock& block) const {
    return memory_ == nullptr ? open_in_place(windows_, block) : open_frame(windows_, blocks_, block, memory_);
  }

 private:
  const ConvWindows<T>& windows_;
  const ConvBlocks& blocks_;
  T* memory_;
  Runs runs_;
};

/// Lists where the windows of a block begin and where their results lie; returns their number.
template <class T, class R>
int64_t list_windows(const ConvWindows<T>& w, const ConvBlock& block, const ConvFrame<T>& frame,
                     const Results<R>& results, const T** sources, R** targets) {
  int64_t listed = 0;
  for (int64_t sample = block.samples.begin; sample < block.samples.end; ++sample) {
    for (int64_t row = block.rows.begin; row < block.rows.end; ++row) {
      const T* source =
          frame.first + (sample - block.samples.begin) * frame.sample + (row - block.rows.begin) * frame.row;
      const int64_t y = sample * results.height + w.rows.first + row * w.rows.step;
      const int64_t x = w.columns.first + block.columns.begin * w.columns.step;
      R* target = results.data + (y * results.width + x) * results.pitch;
      for (int64_t column = 0; column < block.columns.size(); ++column, ++listed) {
        sources[listed] = source + column * frame.column;
        targets[listed] = target + column * w.columns.step * results.pitch;
      }
    }
  }
  return listed;
}

/// Sums of `size` elements over blocks, of every thread's share of them. Where shares are many blocks, partial sums go
/// on to double precision, as those of column_sums.h.
template <class T>
class BlockSums {
 public:
  BlockSums(int64_t size, int64_t blocks)
      : size_(size), shares_(num_threads()), parts_(Tensor::zeros({shares_, size}, kDTypeOf<T>)) {
    if (blocks > kSumRows * shares_) totals_ = Tensor::zeros({shares_, size}, DType::kFloat64);
  }

  /// What the blocks of a share are added to.
  T* part(int64_t share) { return parts_.template data<T>() + share * size_; }
  /// Notes that the share has `blocks` blocks now.
  void count(int64_t share, int64_t blocks) {
    if (!totals_.defined() || blocks % kSumRows != 0) return;
    ColumnSums<T>{part(share), total(share), size_}.flush();
  }
  /// to, which may be part(0) = the sums over all shares, added in order.
  void write(T* to) {
    parallel_for(size_, 16384, [&](int64_t begin, int64_t end, int64_t) {
      if (to != part(0)) std::copy(part(0) + begin, part(0) + end, to + begin);
      for (int64_t share = 1; share < shares_; ++share) add_to(part(share) + begin, to + begin, end - begin);
      if (!totals_.defined()) return;
      for (int64_t j = begin; j < end; ++j) {
        double sum = static_cast<double>(to[j]);
        for (int64_t share = 0; share < shares_; ++share) sum += total(share)[j];
        to[j] = static_cast<T>(sum);
      }
    });
  }

 private:
  double* total(int64_t share) { return totals_.template data<double>() + share * size_; }

  int64_t size_;
  int64_t shares_;
  Tensor parts_;
  Tensor totals_;
};

}  // namespace attune::cpu
