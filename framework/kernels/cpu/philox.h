// Philox4x32-10 in vectors, and dropout scales from it; compiled once per instruction set, as simd.h.

#if defined(ATTUNE_FRAMEWORK_KERNELS_CPU_PHILOX_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_CPU_PHILOX_H_
#undef ATTUNE_FRAMEWORK_KERNELS_CPU_PHILOX_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_CPU_PHILOX_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "framework/kernels/cpu/simd.h"
#include "framework/random.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {

/// What dropout with probability p does to an element whose random word is w: times `scale` when w >= threshold, else
/// 0.
struct DropoutScale {
  explicit DropoutScale(double p)
      : threshold(static_cast<uint32_t>(p * 0x1.0p32)), exact(1 / (1 - p)), scale(static_cast<float>(exact)) {}

  uint32_t threshold;
  double exact;  ///< for float64
  float scale;
};

namespace detail {

using WordTag = hn::CappedTag<uint32_t, 16>;  // never more counters at once than a block of 64 elements has
using WideTag = hn::Repartition<uint64_t, WordTag>;
using Words = hn::Vec<WordTag>;
using Wide = hn::Vec<WideTag>;

HWY_INLINE Wide Xor3(Wide a, Wide b, Wide c) {
#if HWY_TARGET == HWY_AVX3
  return Wide{_mm512_ternarylogic_epi64(a.raw, b.raw, c.raw, 0x96)};
#else
  return hn::Xor(hn::Xor(a, b), c);
#endif
}

/// Every other counter: each word lies in the low half of a 64-bit lane, where the product of two words has room. What
/// is left in the high halves is ignored by the next multiplication.
struct PhiloxState {
  Wide w0, w1, w2, w3;

  HWY_INLINE void Round(Wide key0, Wide key1) {
    const WordTag d;
    const auto p0 = hn::MulEven(hn::BitCast(d, w0), hn::Set(d, 0xD2511F53u));
    const auto p1 = hn::MulEven(hn::BitCast(d, w2), hn::Set(d, 0xCD9E8D57u));
    w0 = Xor3(hn::ShiftRight<32>(p1), w1, key0);
    w1 = p1;
    w2 = Xor3(hn::ShiftRight<32>(p0), w3, key1);
    w3 = p0;
  }
};

HWY_INLINE PhiloxState PhiloxBegin(Wide counters) {
  const WideTag d;
  return {counters, hn::ShiftRight<32>(counters), hn::Zero(d), hn::Zero(d)};
}

HWY_INLINE Words Interleave(Wide even, Wide odd) {
  const WordTag d;
  return hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
}

/// The words of Lanes(WordTag) consecutive counters from `counter` on, key = seed.
HWY_INLINE void PhiloxWords(uint64_t seed, uint64_t counter, Words& w0, Words& w1, Words& w2, Words& w3) {
  const WideTag d;
  const auto counters = hn::Add(hn::Set(d, counter), hn::ShiftLeft<1>(hn::Iota(d, 0)));
  PhiloxState even = PhiloxBegin(counters);
  PhiloxState odd = PhiloxBegin(hn::Add(counters, hn::Set(d, 1)));
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const auto wide_key0 = hn::Set(d, key0);
    const auto wide_key1 = hn::Set(d, key1);
    even.Round(wide_key0, wide_key1);
    odd.Round(wide_key0, wide_key1);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  w0 = Interleave(even.w0, odd.w0);
  w1 = Interleave(even.w1, odd.w1);
  w2 = Interleave(even.w2, odd.w2);
  w3 = Interleave(even.w3, odd.w3);
}

/// f(offset, words) for the random words of elements base + offset ... + Lanes - 1, offsets 0 ... 63. base: a multiple
/// of 64.
template <class F>
HWY_INLINE void ForEachWords(RandomState state, int64_t base, F f) {
  const WordTag d;
  const auto counter = state.offset + static_cast<uint64_t>(base / 4);
  for (size_t lane = 0; lane < 16; lane += hn::Lanes(d)) {
    Words w0, w1, w2, w3;
    PhiloxWords(state.seed, counter + lane, w0, w1, w2, w3);
    f(lane, w0);
    f(lane + 16, w1);
    f(lane + 32, w2);
    f(lane + 48, w3);
  }
}

/// `scale` where the word is at least the threshold, 0 elsewhere.
HWY_INLINE hn::Vec<hn::RebindToFloat<WordTag>> KeepScale(Words words, const DropoutScale& dropout) {
  const WordTag d;
  const hn::RebindToFloat<WordTag> df;
  const auto drop = hn::Lt(words, hn::Set(d, dropout.threshold));
  return hn::IfThenZeroElse(hn::RebindMask(df, drop), hn::Set(df, dropout.scale));
}

}  // namespace detail

/// scales[i] = 0 or 1 / (1 - p) for elements base + i of the draw at `state`, i < 64. base: a multiple of 64.
HWY_INLINE void DropoutScales64(RandomState state, const DropoutScale& dropout, int64_t base, float* scales) {
  const hn::RebindToFloat<detail::WordTag> df;
  detail::ForEachWords(state, base, [&](size_t i, detail::Words words) HWY_ATTR {
    hn::StoreU(detail::KeepScale(words, dropout), df, scales + i);
  });
}

/// y[i] = x[i] dropped out, for elements base + i of the draw, i < 64; y may be x. What is dropped becomes 0, NaN too.
HWY_INLINE void Dropout64(RandomState state, const DropoutScale& dropout, int64_t base, const float* x, float* y) {
  const detail::WordTag d;
  const hn::RebindToFloat<detail::WordTag> df;
  const auto threshold = hn::Set(d, dropout.threshold);
  const auto scale = hn::Set(df, dropout.scale);
  detail::ForEachWords(state, base, [&](size_t i, detail::Words words) HWY_ATTR {
    const auto drop = hn::RebindMask(df, hn::Lt(words, threshold));
    hn::StoreU(hn::IfThenZeroElse(drop, hn::Mul(hn::LoadU(df, x + i), scale)), df, y + i);
  });
}

/// The scales of elements begin ... begin + n - 1, for any begin and n.
HWY_INLINE void DropoutScales(RandomState state, const DropoutScale& dropout, int64_t begin, int64_t n, float* scales) {
  HWY_ALIGN float edge[64];
  for (int64_t at = begin; at < begin + n;) {
    const int64_t base = at / 64 * 64;
    const int64_t end = std::min(base + 64, begin + n);
    float* out = scales + (at - begin);
    if (end - at == 64) {
      DropoutScales64(state, dropout, base, out);
    } else {
      DropoutScales64(state, dropout, base, edge);
      std::copy(edge + (at - base), edge + (end - base), out);
    }
    at = end;
  }
}

/// y[i] = x[i] dropped out, for elements begin + i of the draw, any begin and n; y may be x.
HWY_INLINE void DropoutRange(RandomState state, const DropoutScale& dropout, int64_t begin, int64_t n, const float* x,
                             float* y) {
  HWY_ALIGN float edge[64];
  for (int64_t at = begin; at < begin + n;) {
    const int64_t base = at / 64 * 64;
    const int64_t end = std::min(base + 64, begin + n);
    const float* in = x + (at - begin);
    float* out = y + (at - begin);
    if (end - at == 64) {
      Dropout64(state, dropout, base, in, out);
    } else {
      DropoutScales64(state, dropout, base, edge);
      for (int64_t i = 0; i < end - at; ++i) {
        const float scale = edge[at - base + i];
        out[i] = scale == 0 ? 0 : in[i] * scale;
      }
    }
    at = end;
  }
}

HWY_INLINE void DropoutRange(RandomState state, const DropoutScale& dropout, int64_t begin, int64_t n, const double* x,
                             double* y) {
  HWY_ALIGN float scales[64];
  for (int64_t at = 0; at < n; at += 64) {
    const int64_t count = std::min<int64_t>(64, n - at);
    DropoutScales(state, dropout, begin + at, count, scales);
    for (int64_t i = 0; i < count; ++i) y[at + i] = scales[i] == 0 ? 0 : x[at + i] * dropout.exact;
  }
}

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
