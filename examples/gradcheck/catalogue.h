#pragma once

// Every layer and attention variant that the gradient checker knows: how to make one from a random draw, and which of
// its gradients must be exactly 0.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/gradcheck.h"
#include "examples/gradcheck/masks.h"
#include "examples/gradcheck/options.h"
#include "layers/module.h"

namespace attune::examples {

/// What is random about a case besides its values. Smaller extents and fewer parts make a smaller case.
struct Draw {
  uint64_t seed = 1;
  std::vector<std::pair<std::string, int64_t>> extents;
  std::vector<MaskPart> mask;

  int64_t operator[](std::string_view letter) const;
  std::string to_string() const;  ///< "B=2 T=3, causal & padding, seed 7"
};

/// One layer of certain options for one draw. Values are filled in from the seed, parameters first, then inputs.
struct Case {
  struct Input {
    std::string name;
    std::string axes;  ///< "B T D"
    Shape shape;
  };

  std::unique_ptr<Module> module;
  std::vector<Input> inputs;
  std::function<std::vector<Variable>(std::span<const Variable>)> call;
  std::vector<GradcheckZeros> zeros;

  // The same as C++, in which the module is `layer` and inputs and constants go by their names.
  std::string declaration;  ///< "Linear layer(3, 4);"
  std::string body;         ///< of the function that gives the outputs: "return {layer(x)};"
  std::vector<std::pair<std::string, Tensor>> constants;
};

struct ExtentRow {
  std::string letter;
  int64_t low;
  int64_t high;
};

struct LayerRow {
  std::string name;
  std::string what;  ///< in one line
  std::vector<OptionRow> options;
  std::vector<ExtentRow> extents;
  std::vector<MaskPart> mask_parts;  ///< that make sense for the layer
  std::function<Case(const Options&, const Draw&)> make;
  /// Whether the layer makes choices with these options: where rounding decides, another dtype chooses otherwise, and
  /// gradients cannot be compared.
  std::function<bool(const Options&)> chooses = [](const Options&) { return false; };
};

const std::vector<LayerRow>& catalogue();
/// Throws UsageError that names the nearest row.
const LayerRow& find_row(std::string_view name);

/// Extents at random, those of sequences and widths up to `scale` times as large as the row says; `mask` as given.
Draw random_draw(const LayerRow& row, std::vector<MaskPart> mask, uint64_t seed, int64_t scale = 1);
Options random_options(const LayerRow& row, uint64_t seed);

// The rows by family.
void add_basic_rows(std::vector<LayerRow>& rows);
void add_attention_rows(std::vector<LayerRow>& rows);
void add_efficient_rows(std::vector<LayerRow>& rows);
void add_loss_rows(std::vector<LayerRow>& rows);
void add_picture_rows(std::vector<LayerRow>& rows);
void add_recurrent_rows(std::vector<LayerRow>& rows);
void add_score_rows(std::vector<LayerRow>& rows);
void add_text_rows(std::vector<LayerRow>& rows);
void add_transformer_rows(std::vector<LayerRow>& rows);

}  // namespace attune::examples
