#pragma once

// For conv.cpp: passes over windows of 3 x 3 by Winograd's transforms.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "framework/kernels/cpu/conv_pass.h"
#include "framework/kernels/cpu/packed_matrix.h"
#include "framework/kernels/cpu/winograd.h"

namespace attune::cpu {

inline constexpr int64_t kPlaceCount = 16;  // of a transformed tile

/// Whether transforms cost less than the multiplications that they save: of tiles by many channels, and of weights by
/// many tiles.
template <class T>
bool suits_winograd(const ConvWindows<T>& w, int64_t n) {
  const auto suits = [](const ConvSight& sight) {
    return sight.taps == 3 && sight.advance == 1 && sight.spacing == 1 && sight.step == 1 && sight.outputs % 2 == 0;
  };
  const auto wide = [](int64_t channels) { return channels % kWinogradLanes == 0 && channels >= 2 * kWinogradLanes; };
  const bool many = w.batch * w.rows.outputs * w.columns.outputs >= 256;
  return suits(w.rows) && suits(w.columns) && wide(w.channels) && wide(n) && many;
}

/// The same pass as tiles: windows of 4 x 4, two outputs apart.
template <class T>
ConvWindows<T> tiles_of(ConvWindows<T> w) {
  for (ConvSight* sight : {&w.rows, &w.columns}) {
    sight->outputs /= 2;
    sight->step = sight->advance = 2;
    sight->taps = 4;
  }
  return w;
}

/// Tiles whose transforms, and those of their n results, stay in the second-level cache.
template <class T>
ConvBlocks tile_blocks(const ConvWindows<T>& tiles, int64_t n) {
  constexpr int64_t kElements = (int64_t{3} << 19) / static_cast<int64_t>(sizeof(T));
  return ConvBlocks(tiles, std::clamp<int64_t>(kElements / (kPlaceCount * (tiles.channels + n)), 16, 512));
}

/// Transformed matrices: place p of item i at data + p plane + i width.
template <class T>
struct Places {
  T* data;
  int64_t width;
  int64_t plane;

  T* place(int64_t p) const { return data + p * plane; }
  Grids<T> grids() const { return {.first = data, .step = width, .row = 4 * plane, .column = plane}; }
  Grids<const T> sources() const { return {.first = data, .step = width, .row = 4 * plane, .column = plane}; }
};

/// Those of `count` items in scratch memory. Planes do not lie whole powers of two apart, which caches are slow with.
template <class T>
Places<T> scratch_places(int slot, int64_t count, int64_t width) {
  const int64_t plane = count * width + kWinogradLanes;
  return {scratch<T>(slot, kPlaceCount * plane), width, plane};
}

/// B^T d B of the tiles of a block.
template <class T>
void transform_tiles(const T* const* tiles, int64_t count, int64_t channels, const ConvFrame<T>& frame,
                     const Places<T>& to) {
  winograd(WinogradTransform::kInput, count, channels,
           Grids<const T>{.list = tiles, .row = frame.row / 2, .column = frame.column / 2}, to.grids());
}

/// For each place the matrix [channels, n] that the tiles are multiplied by, from weights [9 channels, n].
template <class T>
std::array<std::optional<PackedMatrix<T>>, kPlaceCount> transformed(const Operand<T>& weights, int64_t channels,
                                                                    int64_t n) {
  const bool by_column = weights.row == 1;  // where elements of a window lie side by side
  const int64_t items = by_column ? n : channels;
  const int64_t width = by_column ? channels : n;
  Tensor memory = Tensor::empty({kPlaceCount, items, width}, kDTypeOf<T>);
  const Places<T> to{memory.data<T>(), width, items * width};
  const int64_t step = by_column ? weights.col : weights.row;
  const int64_t tap = channels * weights.row;
  parallel_for(items, grain_of(kPlaceCount * width), [&](int64_t begin, int64_t end, int64_t) {
    Grids<T> part = to.grids();
    part.first += begin * width;
    winograd(WinogradTransform::kWeights, end - begin, width,
             Grids<const T>{.first = weights.data + begin * step, .step = step, .row = 3 * tap, .column = tap}, part);
  });
  std::array<std::optional<PackedMatrix<T>>, kPlaceCount> packed;
  parallel_tasks(kPlaceCount, [&](int64_t p) {
    const Operand<T> b = by_column ? Operand<T>{to.place(p), 1, width} : Operand<T>{to.place(p), width, 1};
    packed[static_cast<size_t>(p)].emplace(b, channels, n);
  });
  return packed;
}

/// convolve() of conv.cpp.
template <class T>
void convolve_tiles(const ConvWindows<T>& w, const Operand<T>& weights, const T* bias, const Results<T>& results) {
  const ConvWindows<T> tiles = tiles_of(w);
  const ConvBlocks blocks = tile_blocks(tiles, results.n);
  const auto matrices = transformed(weights, w.channels, results.n);
  const int64_t work = blocks.outputs() * kPlaceCount * w.channels * results.n;
  parallel_for(blocks.count(), grain_of(work), [&](int64_t begin, int64_t end, int64_t) {
    const Reader<T> reader(tiles, blocks, tiles.within_pictures());
    const T** sources = scratch<const T*>(kSources, blocks.outputs());
    T** targets = scratch<T*>(kTargets, blocks.outputs());
    const Places<T> seen = scratch_places<T>(kTiles, blocks.outputs(), w.channels);
    const Places<T> made = scratch_places<T>(kPlaces, blocks.outputs(), results.n);
    for (int64_t i = begin; i < end; ++i) {
      const ConvBlock block = blocks[i];
      const ConvFrame<T> frame = reader.open(block);
      const int64_t count = list_windows(tiles, block, frame, results, sources, targets);
      transform_tiles(sources, count, w.channels, frame, seen);
      for (int64_t p = 0; p < kPlaceCount; ++p) {
        matrices[static_cast<size_t>(p)]->multiply({seen.place(p), w.channels, 1}, count, made.place(p), results.n,
                                                   false);
      }
      winograd(WinogradTransform::kOutput, count, results.n, made.sources(),
               Grids<T>{.list = targets, .row = results.width * results.pitch, .column = results.pitch}, bias);
    }
  });
}

/// to [n, 3, 3, channels] is written: the gradient of the weights. dy: where gradients of the results come from.
template <class T>
void weight_gradient_of_tiles(const ConvWindows<T>& w, const Results<const T>& dy, T* to) {
  const ConvWindows<T> tiles = tiles_of(w);
  const ConvBlocks blocks = tile_blocks(tiles, dy.n);
  const int64_t plane = dy.n * w.channels;
  const int64_t size = kPlaceCount * plane;
  BlockSums<T> sums(size, blocks.count());
  parallel_for(blocks.count(), grain_of(blocks.outputs() * size), [&](int64_t begin, int64_t end, int64_t chunk) {
    const Reader<T> reader(tiles, blocks, tiles.within_pictures());
    const T** sources = scratch<const T*>(kSources, blocks.outputs());
    const T** gradients = scratch<const T*>(kTargets, blocks.outputs());
    const Places<T> seen = scratch_places<T>(kTiles, blocks.outputs(), w.channels);
    const Places<T> asked = scratch_places<T>(kPlaces, blocks.outputs(), dy.n);
    constexpr int64_t kHere = 0;
    for (int64_t i = begin; i < end; ++i) {
      const ConvBlock block = blocks[i];
      const ConvFrame<T> frame = reader.open(block);
      const int64_t count = list_windows(tiles, block, frame, dy, sources, gradients);
      transform_tiles(sources, count, w.channels, frame, seen);
      winograd(WinogradTransform::kOutputGradient, count, dy.n,
               Grids<const T>{.list = gradients, .row = dy.width * dy.pitch, .column = dy.pitch}, asked.grids());
      for (int64_t p = 0; p < kPlaceCount; ++p) {
        const T* a = asked.place(p);
        const T* b = seen.place(p);
        add_lines(LineProduct<T>{.a = &a,
                                 .b = &b,
                                 .lines = 1,
                                 .pixels = count,
                                 .a_step = dy.n,
                                 .b_step = w.channels,
                                 .rows = dy.n,
                                 .runs = {.offsets = &kHere, .count = 1, .length = w.channels},
                                 .c = sums.part(chunk) + p * plane});
      }
      sums.count(chunk, i - begin + 1);
    }
  });
  sums.write(sums.part(0));
  const Places<T> places{sums.part(0), w.channels, plane};
  winograd(WinogradTransform::kWeightsGradient, dy.n, w.channels, places.sources(),
           Grids<T>{.first = to, .step = 9 * w.channels, .row = 3 * w.channels, .column = w.channels});
}

}  // namespace attune::cpu
