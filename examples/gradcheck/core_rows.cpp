#include "examples/gradcheck/core_rows.h"

#include <fmt/format.h>

namespace attune::examples {
namespace {

Case make_core_case(const CoreRow& row, const Options& options, const Draw& d) {
  const int64_t group = row.grouped ? d["G"] : 1;
  const int64_t heads = d["H"];
  const int64_t key_heads = heads % group == 0 ? heads / group : heads;
  const int64_t keys = row.equal_lengths ? d["T"] : d["S"];
  const int64_t value_width = row.equal_widths ? d["K"] : d["V"];
  const std::vector<Shape> shapes = {{d["B"], d["T"], heads, d["K"]},
                                     {d["B"], keys, key_heads, row.separate_keys(options) ? d["E"] : d["K"]},
                                     {d["B"], keys, key_heads, value_width}};
  const MaskPlan plan(d.mask, {d["B"], heads, d["T"], keys}, d.seed);
  const bool weights = options.flag("weights");
  MadeCore core = row.make(options, d);
  Case made;
  made.call = [&layer = *core.core, plan, weights](std::span<const Variable> in) {
    return results(layer(in[0], in[1], in[2], mask_of(plan, in), weights));
  };
  made.module = std::move(core.core);
  made.inputs = {{"q", "B T H K", shapes[0]}, {"k", "B S H K", shapes[1]}, {"v", "B S H K", shapes[2]}};
  add_mask(made, plan);
  made.declaration = std::move(core.declaration);
  made.body = results_code(fmt::format("layer(q, k, v, {}, {})", plan.code(), weights), weights);
  std::vector<Shape> more;
  if (weights) more.push_back({d["B"], heads, d["T"], keys});
  made.zeros = attention_zeros(Sight(plan.allowed()), shapes, {"q", "k", "v", plan.has_bias() ? "bias" : ""},
                               {d["B"], d["T"], heads, value_width}, one_row(d, d["T"]), row.coupling, more);
  return made;
}

}  // namespace

LayerRow core_row(CoreRow row) {
  std::vector<ExtentRow> extents = {{"B", 1, 3}, {"T", 1, 4}, {"H", 1, 4}, {"K", 1, 4}};
  if (!row.equal_lengths) extents.push_back({"S", 1, 5});
  if (!row.equal_widths) extents.push_back({"V", 1, 3});
  if (row.grouped) extents.push_back({"G", 1, 2});
  extents.insert(extents.end(), row.more_extents.begin(), row.more_extents.end());
  row.options.push_back(flag_option("weights", false));
  LayerRow out{row.name, row.what, row.options, std::move(extents), row.mask_parts, {}, row.chooses};
  out.make = [row = std::move(row)](const Options& options, const Draw& draw) {
    return make_core_case(row, options, draw);
  };
  return out;
}

}  // namespace attune::examples
