#include <fmt/format.h>

#include "examples/gradcheck/core_rows.h"
#include "layers/attention/linear_attention.h"
#include "layers/attention/linformer.h"
#include "layers/attention/performer.h"
#include "layers/attention/positions.h"
#include "layers/attention/relative.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

MadeCore make_linear_attention(const Options&, const Draw&) {
  return {std::make_unique<LinearAttention>(), "LinearAttention layer;"};
}

MadeCore make_performer(const Options& o, const Draw& d) {
  const PerformerOptions options{o.whole("features"), o.flag("orthogonal")};
  return {std::make_unique<Performer>(d["K"], options),
          fmt::format("Performer layer({}, {{.features = {}, .orthogonal = {}}});", d["K"], options.features,
                      options.orthogonal)};
}

MadeCore make_linformer(const Options& o, const Draw& d) {
  const std::string& sharing = o.text("sharing");
  const LinformerSharing kind = sharing == "none"    ? LinformerSharing::kNone
                                : sharing == "heads" ? LinformerSharing::kHeads
                                                     : LinformerSharing::kKeyValue;
  const char* code = sharing == "none" ? "kNone" : sharing == "heads" ? "kHeads" : "kKeyValue";
  const LinformerOptions options{d["S"] + 1, d["P"], d["H"], kind, o.number("dropout")};
  return {std::make_unique<Linformer>(options),
          fmt::format("Linformer layer({{.keys = {}, .projected = {}, .heads = {}, .sharing = LinformerSharing::{}, "
                      ".dropout = {}}});",
                      options.keys, options.projected, options.heads, code, options.dropout)};
}

MadeCore make_relative(const Options& o, const Draw& d) {
  const bool last = o.text("align") == "last";
  const RelativeAttentionOptions options{o.whole("max_distance"), o.flag("values"), d["V"], o.number("dropout"),
                                         last ? Align::kLast : Align::kFirst};
  return {
      std::make_unique<RelativeAttention>(d["K"], options),
      fmt::format("RelativeAttention layer({}, {{.max_distance = {}, .values = {}, .value_size = {}, .dropout = {}, "
                  ".align = Align::{}}});",
                  d["K"], options.max_distance, options.values, options.value_size, options.dropout,
                  last ? "kLast" : "kFirst")};
}

/// Queries or keys turned by their positions.
Case make_rotary(const Options& o, const Draw& d) {
  const bool halves = o.text("layout") == "halves";
  const int64_t width = 2 * d["K"];
  const RotaryOptions options{halves ? RotaryLayout::kHalves : RotaryLayout::kInterleaved, o.flag("part") ? 2 : 0,
                              o.number("base")};
  auto layer = std::make_unique<RotaryPositions>(width, options);
  const int64_t offset = o.whole("offset");
  Case made;
  made.call = [&module = *layer, offset](Inputs in) { return std::vector<Variable>{module.turn(in[0], offset)}; };
  made.module = std::move(layer);
  made.inputs.push_back({"x", "B T H K", {d["B"], d["T"], d["H"], width}});
  made.declaration = fmt::format("RotaryPositions layer({}, {{.layout = RotaryLayout::{}, .size = {}, .base = {}}});",
                                 width, halves ? "kHalves" : "kInterleaved", options.size, options.base);
  made.body = returns(fmt::format("layer.turn(x, {})", offset));
  return made;
}

Case make_buckets(const Options& o, const Draw& d) {
  const RelativeBucketsOptions options{o.whole("buckets"), o.whole("max_distance"), o.flag("bidirectional")};
  auto layer = std::make_unique<RelativeBuckets>(d["H"], options);
  const int64_t queries = d["T"], keys = d["S"], offset = o.whole("offset");
  Case made;
  made.call = [&module = *layer, queries, keys, offset](Inputs) {
    return std::vector<Variable>{module.scores(queries, keys, offset)};
  };
  made.module = std::move(layer);
  made.declaration =
      fmt::format("RelativeBuckets layer({}, {{.buckets = {}, .max_distance = {}, .bidirectional = {}}});", d["H"],
                  options.buckets, options.max_distance, options.bidirectional);
  made.body = returns(fmt::format("layer.scores({}, {}, {})", queries, keys, offset));
  std::vector<bool> used(static_cast<size_t>(options.buckets));
  for (int64_t t = 0; t < queries; ++t) {
    for (int64_t s = 0; s < keys; ++s) used[static_cast<size_t>(relative_bucket(s - t - offset, options))] = true;
  }
  made.zeros.push_back(
      {"distances that do not occur",
       {},
       {{"weight", bool_tensor({options.buckets, d["H"]}, [&](auto i) { return !used[static_cast<size_t>(i[0])]; })}}});
  return made;
}

}  // namespace

void add_efficient_rows(std::vector<LayerRow>& rows) {
  const auto texts = [](std::initializer_list<const char*> all) {
    std::vector<OptionValue> choices;
    for (const char* text : all) choices.emplace_back(std::string(text));
    return choices;
  };
  rows.push_back(core_row({.name = "LinearAttention",
                           .what = "phi(q) (phi(k) v) / phi(q) phi(k), phi = elu + 1",
                           .options = {},
                           .make = make_linear_attention}));
  rows.push_back(
      core_row({.name = "Performer",
                .what = "linear attention by positive random features",
                .options = {{"features", int64_t{6}, {int64_t{0}, int64_t{6}}}, flag_option("orthogonal", true)},
                .make = make_performer}));
  rows.push_back(
      core_row({.name = "Linformer",
                .what = "attention to projected keys and values",
                .options = {{"sharing", std::string("heads"), texts({"none", "heads", "key_value"})}, dropout_option()},
                .make = make_linformer,
                .mask_parts = {MaskPart::kPadding},
                .grouped = false,
                .more_extents = {{"P", 1, 4}}}));
  rows.push_back(core_row({.name = "RelativeAttention",
                           .what = "vectors for distances beside keys and values",
                           .options = {{"max_distance", int64_t{2}, {int64_t{1}, int64_t{2}, int64_t{8}}},
                                       flag_option("values", true),
                                       {"align", std::string("last"), texts({"last", "first"})},
                                       dropout_option()},
                           .make = make_relative}));
  const OptionRow offset{"offset", int64_t{0}, {int64_t{0}, int64_t{3}}};
  rows.push_back({"RotaryPositions",
                  "queries and keys turned by angles of their positions",
                  {{"layout", std::string("interleaved"), texts({"interleaved", "halves"})},
                   flag_option("part", false),
                   {"base", 10000.0, {10000.0, 100.0}},
                   offset},
                  {{"B", 1, 3}, {"T", 1, 4}, {"H", 1, 3}, {"K", 1, 3}},
                  {},
                  make_rotary});
  rows.push_back({"RelativeBuckets",
                  "a learned score for every bucket of distances",
                  {{"buckets", int64_t{8}, {int64_t{8}, int64_t{16}}},
                   {"max_distance", int64_t{10}, {int64_t{10}, int64_t{20}}},
                   flag_option("bidirectional", true),
                   offset},
                  {{"H", 1, 3}, {"T", 1, 5}, {"S", 1, 5}},
                  {},
                  make_buckets});
}

}  // namespace attune::examples
