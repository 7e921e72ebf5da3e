#include "layers/attention/positions.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {
namespace {

void check_heads(const char* who, int64_t heads) {
  require<ValueError>(heads > 0, "{}: {} heads given, expected at least 1", who, heads);
}

/// [B, T, S] filled with f(key's position - query's), the first query of sample b at offsets[b].
template <class T, class F>
Tensor over_distances(int64_t queries, int64_t keys, std::span<const int64_t> offsets, F&& f) {
  Tensor out = Tensor::empty({static_cast<int64_t>(offsets.size()), queries, keys}, kDTypeOf<T>);
  T* data = out.data<T>();
  for (const int64_t offset : offsets) {
    for (int64_t t = 0; t < queries; ++t) {
      for (int64_t s = 0; s < keys; ++s) *data++ = f(s - t - offset);
    }
  }
  return out;
}

std::vector<int64_t> offsets_of(const Tensor& offsets) {
  require<DTypeError>(offsets.dtype() == DType::kInt64, "positions: offsets are {}, expected int64",
                      dtype_name(offsets.dtype()));
  require<ShapeError>(offsets.rank() == 1, "positions: offsets are {}, expected [B]", offsets.shape());
  return offsets.to(Device::cpu()).to_vector<int64_t>();
}

}  // namespace

Tensor positions_from(const Tensor& offsets, int64_t count) {
  std::vector<int64_t> positions;
  for (const int64_t first : offsets_of(offsets)) {
    for (int64_t n = 0; n < count; ++n) positions.push_back(first + n);
  }
  return Tensor::from(positions, {offsets.dim(0), count});
}

Variable AttentionPositions::turn(const Variable& x, int64_t) const { return x; }

Variable AttentionPositions::turn(const Variable& x, const Tensor&) const { return x; }

Variable AttentionPositions::scores(int64_t, int64_t, int64_t) const { return {}; }

Variable AttentionPositions::scores(int64_t, int64_t, const Tensor&) const { return {}; }

RotaryPositions::RotaryPositions(int64_t head_size, RotaryOptions options) : size_(head_size), layout_(options.layout) {
  const int64_t turned = options.size == 0 ? head_size : options.size;
  require<ValueError>(turned > 0 && turned <= head_size && turned % 2 == 0,
                      "RotaryPositions: {} of {} elements of a head are to be turned, expected an even number of them",
                      turned, head_size);
  require<ValueError>(options.base > 0, "RotaryPositions: base {} given, expected more than 0", options.base);
  for (int64_t i = 0; i < turned; i += 2) {
    const double frequency = std::pow(options.base, -static_cast<double>(i) / static_cast<double>(turned));
    steps_.push_back({frequency, std::cos(frequency), std::sin(frequency)});
  }
}

void RotaryPositions::check(const Variable& x) const {
  if (x.rank() == 4 && x.dim(3) == size_) [[likely]]
    return;
  fail<ShapeError>("{}: x is {}, expected [B, N, H, {}]", who("RotaryPositions"), x.shape(), size_);
}

template <class F>
Variable RotaryPositions::turn_to(const Variable& x, const F& position) const {
  const int64_t count = x.dim(1);
  const auto pairs = static_cast<int64_t>(steps_.size());
  // In float64: a float32 loses the direction of far positions. Every few positions angles are computed anew, between
  // them turned on, which is several times as fast and loses a few units in the last place.
  constexpr int64_t kAnew = 32;
  Tensor cosines = Tensor::empty({count, pairs}, DType::kFloat64);
  Tensor sines = Tensor::empty({count, pairs}, DType::kFloat64);
  double* c = cosines.data<double>();
  double* s = sines.data<double>();
  int64_t since = 0;  // positions one behind the other since angles were computed
  for (int64_t n = 0; n < count; ++n) {
    const int64_t here = position(n);
    since = n > 0 && here == position(n - 1) + 1 ? (since + 1) % kAnew : 0;
    for (int64_t i = 0; i < pairs; ++i) {
      const int64_t at = n * pairs + i;
      const Step& step = steps_[static_cast<size_t>(i)];
      if (since == 0) {
        const double angle = static_cast<double>(here) * step.frequency;
        c[at] = std::cos(angle);
        s[at] = std::sin(angle);
      } else {
        const int64_t before = at - pairs;
        c[at] = c[before] * step.cosine - s[before] * step.sine;
        s[at] = s[before] * step.cosine + c[before] * step.sine;
      }
    }
  }
  const auto as_x = [&](const Tensor& table) { return table.to(accumulation_dtype(x.dtype())).to(x.device()); };
  return rotary(x, as_x(cosines), as_x(sines), layout_);
}

Variable RotaryPositions::turn(const Variable& x, int64_t offset) const {
  check(x);
  return turn_to(x, [offset](int64_t n) { return offset + n; });
}

Variable RotaryPositions::turn(const Variable& x, const Tensor& positions) const {
  check(x);
  if (positions.dtype() != DType::kInt64) [[unlikely]] {
    fail<DTypeError>("{}: positions are {}, expected int64", who("RotaryPositions"), dtype_name(positions.dtype()));
  }
  if (positions.shape() != Shape{x.dim(0), x.dim(1)}) [[unlikely]] {
    fail<ShapeError>("{}: positions are {}, expected [{}, {}] as x has samples and tokens", who("RotaryPositions"),
                     positions.shape(), x.dim(0), x.dim(1));
  }
  // All samples side by side are one of as many tokens.
  const Variable tokens = reshape(x, {1, x.dim(0) * x.dim(1), x.dim(2), x.dim(3)});
  const std::vector<int64_t> list = positions.to(Device::cpu()).to_vector<int64_t>();
  return reshape(turn_to(tokens, [&](int64_t n) { return list[static_cast<size_t>(n)]; }), x.shape());
}

std::vector<double> alibi_slopes(int64_t heads) {
  check_heads("alibi_slopes", heads);
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  const auto slope = [](int64_t head, int64_t of) {
    return std::exp2(-8 * static_cast<double>(head) / static_cast<double>(of));
  };
  std::vector<double> slopes;
  for (int64_t head = 1; head <= power; ++head) slopes.push_back(slope(head, power));
  for (int64_t head = 1; head <= heads - power; ++head) slopes.push_back(slope(2 * head - 1, 2 * power));
  return slopes;
}

AlibiPositions::AlibiPositions(int64_t heads, AlibiOptions)
    : slopes_(alibi_slopes(heads)), like_(constant(init::zeros({1}))) {}

Variable AlibiPositions::scores(int64_t queries, int64_t keys, int64_t offset) const {
  return scores(queries, keys, Tensor::from<int64_t>({offset}, {1}));
}

Variable AlibiPositions::scores(int64_t queries, int64_t keys, const Tensor& offsets) const {
  const auto heads = static_cast<int64_t>(slopes_.size());
  const Tensor distances = over_distances<double>(
      queries, keys, offsets_of(offsets), [](int64_t distance) { return -static_cast<double>(std::abs(distance)); });
  const NoGrad constants;
  const Variable table = mul(Variable(Tensor::from(slopes_, {1, heads, 1, 1})),
                             reshape(Variable(distances), {distances.dim(0), 1, queries, keys}));
  return Variable(table.value().to(like_.dtype()).to(like_.device()));
}

int64_t relative_bucket(int64_t distance, const RelativeBucketsOptions& options) {
  const int64_t buckets = options.bidirectional ? options.buckets / 2 : options.buckets;
  const int64_t base = options.bidirectional && distance > 0 ? buckets : 0;
  const int64_t d = options.bidirectional ? std::abs(distance) : std::max<int64_t>(-distance, 0);
  const int64_t exact = buckets / 2;
  if (d < exact) return base + d;
  const double ratio = std::log(static_cast<double>(d) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(options.max_distance) / static_cast<double>(exact));
  return base + std::min(buckets - 1, exact + static_cast<int64_t>(ratio * static_cast<double>(buckets - exact)));
}

RelativeBuckets::RelativeBuckets(int64_t heads, RelativeBucketsOptions options) : options_(options) {
  check_heads("RelativeBuckets", heads);
  const int64_t parts = options.bidirectional ? 4 : 2;
  require<ValueError>(options.buckets > 0 && options.buckets % parts == 0,
                      "RelativeBuckets: {} buckets given, expected a multiple of {}", options.buckets, parts);
  require<ValueError>(options.max_distance > options.buckets / parts,
                      "RelativeBuckets: max_distance {} given, expected more than {}, the buckets of one distance",
                      options.max_distance, options.buckets / parts);
  weight_ = parameter("weight", init::normal({options.buckets, heads}, 0, 0.02));
}

Variable RelativeBuckets::scores(int64_t queries, int64_t keys, int64_t offset) const {
  return scores(queries, keys, Tensor::from<int64_t>({offset}, {1}));
}

Variable RelativeBuckets::scores(int64_t queries, int64_t keys, const Tensor& offsets) const {
  const Tensor ids = over_distances<int64_t>(queries, keys, offsets_of(offsets),
                                             [this](int64_t distance) { return relative_bucket(distance, options_); });
  return permute(embedding(weight_, ids), {0, 3, 1, 2});  // [B, H, T, S]
}

std::unique_ptr<AttentionPositions> make_positions(const PositionOptions& options, int64_t heads, int64_t head_size) {
  if (const auto* rotary = std::get_if<RotaryOptions>(&options)) {
    return std::make_unique<RotaryPositions>(head_size, *rotary);
  }
  if (const auto* alibi = std::get_if<AlibiOptions>(&options)) return std::make_unique<AlibiPositions>(heads, *alibi);
  if (const auto* buckets = std::get_if<RelativeBucketsOptions>(&options)) {
    return std::make_unique<RelativeBuckets>(heads, *buckets);
  }
  return nullptr;
}

}  // namespace attune
