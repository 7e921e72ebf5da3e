#include "examples/gradcheck/catalogue.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <stdexcept>

#include "examples/support/program.h"
#include "framework/random.h"

namespace attune::examples {

int64_t Draw::operator[](std::string_view letter) const {
  const auto found = std::find_if(extents.begin(), extents.end(), [&](const auto& e) { return e.first == letter; });
  if (found == extents.end()) throw std::logic_error(fmt::format("Draw: no extent '{}'", letter));
  return found->second;
}

std::string Draw::to_string() const {
  std::vector<std::string> parts;
  for (const auto& [letter, extent] : extents) parts.push_back(fmt::format("{}={}", letter, extent));
  std::vector<std::string> masks;
  for (const MaskPart part : mask) masks.emplace_back(mask_part_name(part));
  return fmt::format("{}{}{}, seed {}", fmt::join(parts, " "), masks.empty() ? "" : ", ", fmt::join(masks, " & "),
                     seed);
}

const std::vector<LayerRow>& catalogue() {
  static const std::vector<LayerRow> rows = [] {
    std::vector<LayerRow> all;
    add_basic_rows(all);
    add_loss_rows(all);
    add_attention_rows(all);
    add_score_rows(all);
    add_efficient_rows(all);
    add_transformer_rows(all);
    add_text_rows(all);
    add_recurrent_rows(all);
    add_picture_rows(all);
    return all;
  }();
  return rows;
}

const LayerRow& find_row(std::string_view name) {
  std::vector<std::string> names;
  for (const LayerRow& row : catalogue()) {
    if (row.name == name) return row;
    names.push_back(row.name);
  }
  throw UsageError(
      fmt::format("unknown layer '{}', the nearest is '{}'; --list shows all", name, nearest(name, names)));
}

Draw random_draw(const LayerRow& row, std::vector<MaskPart> mask, uint64_t seed, int64_t scale) {
  RandomStream random(seed);
  Draw draw{seed, {}, std::move(mask)};
  for (const ExtentRow& extent : row.extents) {
    const bool counts = extent.letter == "B" || extent.letter == "H" || extent.letter == "G";
    const int64_t high = counts ? extent.high : extent.high * scale;
    const auto span = static_cast<uint64_t>(high - extent.low + 1);
    draw.extents.emplace_back(extent.letter, extent.low + static_cast<int64_t>(random.below(span)));
  }
  return draw;
}

Options random_options(const LayerRow& row, uint64_t seed) {
  RandomStream random(seed ^ 0x9e3779b97f4a7c15u);
  Options options(row.options);
  for (const OptionRow& option : row.options) {
    options.set(option.name, option.choices[random.below(option.choices.size())]);
  }
  return options;
}

}  // namespace attune::examples
