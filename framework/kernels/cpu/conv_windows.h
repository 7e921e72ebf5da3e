#pragma once

// For the .cpp files of convolutions: which inputs the outputs of a pass see, and where they lie in memory.

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "framework/device.h"
#include "framework/kernels/conv.h"
#include "framework/kernels/cpu/conv_product.h"
#include "framework/kernels/cpu/gemm.h"

namespace attune::cpu {

/// One axis of a pass. Output i lies at first + i step and sees the inputs at origin + i advance + t spacing, t < taps,
/// each through the weight at place weight + t weight_step of the window; inputs outside of the picture are 0.
struct ConvSight {
  int64_t outputs = 0;
  int64_t first = 0;
  int64_t step = 1;
  int64_t origin = 0;
  int64_t advance = 1;
  int64_t taps = 0;
  int64_t spacing = 1;
  int64_t weight = 0;
  int64_t weight_step = 1;

  /// From the first input that `count` outputs see to the last.
  int64_t reach(int64_t count) const { return (count - 1) * advance + (taps - 1) * spacing + 1; }
};

inline ConvSight forward_sight(const ConvAxis& axis, int64_t out) {
  return {.outputs = out, .origin = -axis.padding, .advance = axis.stride, .taps = axis.size, .spacing = axis.dilation};
}

/// The gradient of inputs phase, phase + stride, ... of an axis of `in`. Input p goes into output i through place j of
/// the window where i stride + j dilation = p + padding: for one phase the same places for all, each time one output
/// further. No taps: the window passes over this phase.
inline ConvSight backward_sight(const ConvAxis& axis, int64_t in, int64_t phase) {
  const int64_t together = std::gcd(axis.stride, axis.dilation);
  ConvSight sight{.outputs = (in - phase + axis.stride - 1) / axis.stride,
                  .first = phase,
                  .step = axis.stride,
                  .spacing = axis.dilation / together,
                  .weight_step = -axis.stride / together};
  for (int64_t place = 0; place < axis.size; ++place) {
    const int64_t distance = phase + axis.padding - place * axis.dilation;
    if (distance % axis.stride != 0) continue;
    ++sight.taps;
    // The last place of the window meets the first output.
    sight.weight = place;
    sight.origin = distance / axis.stride;
  }
  return sight;
}

/// Positions begin ... end - 1.
struct Span {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
};

/// Some rows of some columns of the outputs of some samples.
struct ConvBlock {
  Span samples, rows, columns;
};

/// What a pass reads: the channels of one group of all pictures, [batch, height, width, pitch] from the first of them.
template <class T>
struct ConvWindows {
  ConvSight rows, columns;
  int64_t batch, height, width;
  int64_t pitch;     ///< channels of a pixel
  int64_t channels;  ///< of the group
  const T* pictures;

  /// No window reaches over an edge, and other groups lie nowhere between: windows can be read where they are. Others
  /// are read in frames, copies of what a block sees with zeros around.
  bool within_pictures() const {
    const auto within = [](const ConvSight& sight, int64_t extent) {
      return sight.origin >= 0 && sight.origin + sight.reach(sight.outputs) <= extent;
    };
    return pitch == channels && within(rows, height) && within(columns, width);
  }
  int64_t taps() const { return rows.taps * columns.taps; }
  /// Columns of a window that are neighbours: what they hold is one run.
  int64_t neighbours() const { return columns.spacing == 1 ? columns.taps : 1; }
  /// Elements of a window.
  int64_t elements() const { return taps() * channels; }
};

/// Cuts the outputs of a pass into blocks: whole pictures, rows of one, or parts of a row. Enough outputs to be worth
/// the weights, no more than the second-level cache takes beside a panel of these, and work for every thread.
class ConvBlocks {
 public:
  template <class T>
  explicit ConvBlocks(const ConvWindows<T>& w, int64_t most_outputs = 512)
      : all_{w.batch, w.rows.outputs, w.columns.outputs}, largest_{1, all_.rows, all_.columns} {
    if (all_.samples == 0 || all_.rows == 0 || all_.columns == 0) return;
    constexpr int64_t kElements = (int64_t{448} << 10) / static_cast<int64_t>(sizeof(T));
    const auto frame = [&] { return w.rows.reach(largest_.rows) * w.columns.reach(largest_.columns) * w.channels; };
    const auto too_large = [&] {
      return largest_.outputs() > most_outputs || frame() > kElements || all_.samples * strips() < num_threads();
    };
    while (largest_.rows > 1 && too_large()) largest_.rows = (largest_.rows + 1) / 2;
    while (largest_.columns > 64 && too_large()) largest_.columns = (largest_.columns + 1) / 2;
    if (strips() == 1) {
      const int64_t more =
          std::min({most_outputs / largest_.outputs(), kElements / frame(), all_.samples / num_threads()});
      largest_.samples = std::max<int64_t>(1, more);
    }
    frame_line_ = w.columns.reach(largest_.columns) * w.channels;
    frame_size_ = largest_.samples * w.rows.reach(largest_.rows) * frame_line_;
    count_ = parts(all_.samples, largest_.samples) * strips();
  }

  int64_t count() const { return count_; }
  ConvBlock operator[](int64_t i) const {
    const int64_t columns = parts(all_.columns, largest_.columns);
    return {part(i / strips(), largest_.samples, all_.samples), part(i % strips() / columns, largest_.rows, all_.rows),
            part(i % columns, largest_.columns, all_.columns)};
  }

  // Of the largest block.
  int64_t outputs() const { return largest_.outputs(); }
  int64_t lines() const { return largest_.samples * largest_.rows; }
  /// Elements of the frame of a block, and of a line of one.
  int64_t frame_size() const { return frame_size_; }
  int64_t frame_line() const { return frame_line_; }

 private:
  struct Extents {
    int64_t samples, rows, columns;

    int64_t outputs() const { return samples * rows * columns; }
  };

  static int64_t parts(int64_t all, int64_t each) { return (all + each - 1) / each; }
  static Span part(int64_t i, int64_t each, int64_t all) { return {i * each, std::min(all, (i + 1) * each)}; }
  int64_t strips() const { return parts(all_.rows, largest_.rows) * parts(all_.columns, largest_.columns); }

  Extents all_;
  Extents largest_;
  int64_t frame_line_ = 0;
  int64_t frame_size_ = 0;
  int64_t count_ = 0;
};

/// The windows of a block in memory.
template <class T>
struct ConvFrame {
  const T* first;  ///< the window of the first output
  int64_t sample;  ///< elements from there to that of the same output of the next sample,
  int64_t row;     ///< of the output below,
  int64_t column;  ///< and of the next one in the row
};

/// Elements to be kept behind frames: see LineProduct.
inline constexpr int64_t kConvSlack = packed_columns(1);

template <class T>
ConvFrame<T> open_in_place(const ConvWindows<T>& w, const ConvBlock& block) {
  const int64_t line = w.width * w.pitch;
  const int64_t y = w.rows.origin + block.rows.begin * w.rows.advance;
  const int64_t x = w.columns.origin + block.columns.begin * w.columns.advance;
  return {w.pictures + (block.samples.begin * w.height + y) * line + x * w.pitch, w.height * line,
          w.rows.advance * line, w.columns.advance * w.pitch};
}

/// Copies what the block sees to `memory`, which holds blocks.frame_size() + kConvSlack elements.
template <class T>
ConvFrame<T> open_frame(const ConvWindows<T>& w, const ConvBlocks& blocks, const ConvBlock& block, T* memory) {
  const int64_t top = w.rows.origin + block.rows.begin * w.rows.advance;
  const int64_t lines = w.rows.reach(block.rows.size());
  const int64_t first = w.columns.origin + block.columns.begin * w.columns.advance;
  const int64_t pixels = w.columns.reach(block.columns.size());
  // Pixels left ... right - 1 of a line lie in the picture.
  const int64_t left = std::clamp<int64_t>(-first, 0, pixels);
  const int64_t right = std::clamp<int64_t>(w.width - first, left, pixels);
  T* to = memory;
  for (int64_t sample = block.samples.begin; sample < block.samples.end; ++sample) {
    for (int64_t y = top; y < top + lines; ++y, to += blocks.frame_line()) {
      if (y < 0 || y >= w.height || left == right) {
        std::fill_n(to, pixels * w.channels, T{0});
        continue;
      }
      std::fill_n(to, left * w.channels, T{0});
      const T* from = w.pictures + ((sample * w.height + y) * w.width + first + left) * w.pitch;
      if (w.pitch == w.channels) {
        std::copy_n(from, (right - left) * w.channels, to + left * w.channels);
      } else {
        for (int64_t x = left; x < right; ++x)
          std::copy_n(from + (x - left) * w.pitch, w.channels, to + x * w.channels);
      }
      std::fill_n(to + right * w.channels, (pixels - right) * w.channels, T{0});
    }
  }
  std::fill_n(to, kConvSlack, T{0});
  return {memory, lines * blocks.frame_line(), w.rows.advance * blocks.frame_line(), w.columns.advance * w.channels};
}

/// What windows consist of where lines of pictures, or of frames, are `line` elements apart; offsets[w.taps()] is
/// filled.
template <class T>
Runs runs_of(const ConvWindows<T>& w, int64_t line, int64_t* offsets) {
  Runs runs{.offsets = offsets, .count = 0, .length = w.neighbours() * w.channels};
  for (int64_t t = 0; t < w.rows.taps; ++t) {
    for (int64_t u = 0; u < w.columns.taps; u += w.neighbours()) {
      offsets[runs.count++] = t * w.rows.spacing * line + u * w.columns.spacing * w.channels;
    }
  }
  return runs;
}

}  // namespace attune::cpu
