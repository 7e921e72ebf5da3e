#include "examples/gradcheck/masks.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "framework/random.h"

namespace attune::examples {
namespace {

constexpr int64_t kBlock = 2;

Tensor coins(const Shape& shape, double probability, RandomStream& random) {
  Tensor tensor = Tensor::empty(shape, DType::kBool);
  for (int64_t i = 0; i < tensor.numel(); ++i) tensor.data<bool>()[i] = random.uniform() < probability;
  return tensor;
}

}  // namespace

const char* mask_part_name(MaskPart part) {
  switch (part) {
    case MaskPart::kCausal:
      return "causal";
    case MaskPart::kCausalLast:
      return "causal, last";
    case MaskPart::kPadding:
      return "padding";
    case MaskPart::kKeep:
      return "keep";
    case MaskPart::kDrop:
      return "drop";
    case MaskPart::kWindow:
      return "window";
    case MaskPart::kBlocks:
      return "blocks";
    case MaskPart::kWhere:
      return "where";
    case MaskPart::kBias:
      return "bias";
    case MaskPart::kInfiniteBias:
      return "bias of -infinity";
  }
  return "";
}

MaskPlan::MaskPlan(const std::vector<MaskPart>& parts, const MaskExtents& extents, uint64_t seed)
    : parts_(parts), extents_(extents) {
  RandomStream random(seed);
  std::vector<int64_t> lengths;
  for (int64_t b = 0; b < extents.batch; ++b) {
    lengths.push_back(static_cast<int64_t>(random.below(static_cast<uint64_t>(extents.keys) + 1)));
  }
  lengths_ = Tensor::from(lengths, {extents.batch});
  keep_ = coins({extents.batch, 1, extents.queries, extents.keys}, 0.6, random);
  drop_ = coins({extents.queries, extents.keys}, 0.3, random);
  blocks_ = coins({(extents.queries + kBlock - 1) / kBlock, (extents.keys + kBlock - 1) / kBlock}, 0.6, random);
  left_ = static_cast<int64_t>(random.below(3));
  right_ = static_cast<int64_t>(random.below(3)) - 1;
  forbidden_ = coins({extents.queries, extents.keys}, 0.3, random);
  const auto row = static_cast<int64_t>(random.below(static_cast<uint64_t>(extents.queries) + 1));
  if (row < extents.queries) forbidden_.select(0, row).fill_(1);
}

bool MaskPlan::has(MaskPart part) const { return std::find(parts_.begin(), parts_.end(), part) != parts_.end(); }

AttentionMask MaskPlan::mask(const Variable& bias, const Tensor& like) const {
  AttentionMask mask;
  for (const MaskPart part : parts_) {
    switch (part) {
      case MaskPart::kCausal:
        mask = mask & AttentionMask::causal();
        break;
      case MaskPart::kCausalLast:
        mask = mask & AttentionMask::causal(Align::kLast);
        break;
      case MaskPart::kPadding:
        mask = mask & AttentionMask::padding(lengths_);
        break;
      case MaskPart::kKeep:
        mask = mask & AttentionMask::keep(keep_);
        break;
      case MaskPart::kDrop:
        mask = mask & AttentionMask::drop(drop_);
        break;
      case MaskPart::kWindow:
        mask = mask & AttentionMask::window(left_, right_);
        break;
      case MaskPart::kBlocks:
        mask = mask & AttentionMask::blocks(blocks_, kBlock);
        break;
      case MaskPart::kWhere:
        mask =
            mask & AttentionMask::where([](const ScoreAt& at) { return (at.key + 2 * at.query + at.head) % 3 != 0; });
        break;
      case MaskPart::kBias:
        if (bias.defined()) mask = mask & AttentionMask::bias(bias);
        break;
      case MaskPart::kInfiniteBias: {
        const auto number = [&](double value) {
          return Variable(like.defined() ? Tensor::full({1}, value, like.dtype(), like.device())
                                         : Tensor::full({1}, value, DType::kFloat64));
        };
        const double forbids = -std::numeric_limits<double>::infinity();
        mask = mask & AttentionMask::bias(where(forbidden_, number(forbids), number(0)));
        break;
      }
    }
  }
  return mask;
}

std::vector<std::pair<std::string, Tensor>> MaskPlan::constants() const {
  std::vector<std::pair<std::string, Tensor>> out;
  if (has(MaskPart::kPadding)) out.emplace_back("mask_lengths", lengths_);
  if (has(MaskPart::kKeep)) out.emplace_back("mask_keep", keep_);
  if (has(MaskPart::kDrop)) out.emplace_back("mask_drop", drop_);
  if (has(MaskPart::kBlocks)) out.emplace_back("mask_blocks", blocks_);
  if (has(MaskPart::kInfiniteBias)) out.emplace_back("mask_forbidden", forbidden_);
  return out;
}

std::string MaskPlan::code() const {
  std::string text;
  for (const MaskPart part : parts_) {
    if (!text.empty()) text += " & ";
    text += "AttentionMask::";
    switch (part) {
      case MaskPart::kCausal:
        text += "causal()";
        break;
      case MaskPart::kCausalLast:
        text += "causal(Align::kLast)";
        break;
      case MaskPart::kPadding:
        text += "padding(mask_lengths)";
        break;
      case MaskPart::kKeep:
        text += "keep(mask_keep)";
        break;
      case MaskPart::kDrop:
        text += "drop(mask_drop)";
        break;
      case MaskPart::kWindow:
        text += fmt::format("window({}, {})", left_, right_);
        break;
      case MaskPart::kBlocks:
        text += fmt::format("blocks(mask_blocks, {})", kBlock);
        break;
      case MaskPart::kWhere:
        text += "where([](const ScoreAt& at) { return (at.key + 2 * at.query + at.head) % 3 != 0; })";
        break;
      case MaskPart::kBias:
        text += "bias(bias)";
        break;
      case MaskPart::kInfiniteBias:
        text +=
            "bias(where(mask_forbidden,\n"
            "        Variable(Tensor::full({1}, -std::numeric_limits<double>::infinity(), DType::kFloat64)),\n"
            "        Variable(Tensor::zeros({1}, DType::kFloat64))))";
        break;
    }
  }
  return text.empty() ? "AttentionMask()" : text;
}

Tensor MaskPlan::allowed() const {
  const MaskExtents& e = extents_;
  const LoweredMask lowered = mask().lower(e.batch, e.heads, e.queries, e.keys);
  return allowed_keys(lowered.spec, lowered.bias.value(), {e.batch, e.heads, e.queries, e.keys}, Device::cpu());
}

}  // namespace attune::examples
