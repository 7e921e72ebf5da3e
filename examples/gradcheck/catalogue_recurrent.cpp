#include <fmt/format.h>

#include "examples/gradcheck/rows.h"
#include "layers/recurrent.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

constexpr const char* kWithCell = "return {result.output, result.hidden, result.cell};";
constexpr const char* kWithoutCell = "return {result.output, result.hidden};";

/// Rnn, GRU and LSTM: packed lengths, a first state, several layers and directions.
template <class Layer>
Case make_layers(const char* name, const Options& o, const Draw& d) {
  constexpr bool kHasCell = std::is_same_v<Layer, LSTM>;
  const RecurrentOptions options{o.whole("layers"), o.flag("bidirectional"), o.flag("bias"), o.number("dropout")};
  std::unique_ptr<Layer> layer;
  std::string form;
  if constexpr (std::is_same_v<Layer, GRU>) {
    layer = std::make_unique<GRU>(d["I"], d["H"], options, GruOptions{o.flag("reset_after")});
    form = fmt::format(", {{.reset_after = {}}}", o.flag("reset_after"));
  } else {
    layer = std::make_unique<Layer>(d["I"], d["H"], options);
  }
  const Tensor lengths = random_lengths(d["B"], d["S"], d.seed);
  Case made;
  made.call = [&module = *layer, lengths](Inputs in) {
    RecurrentResult result;
    if constexpr (kHasCell) {
      result = module(in[0], lengths, in[1], in[2]);
      return std::vector<Variable>{result.output, result.hidden, result.cell};
    } else {
      result = module(in[0], lengths, in[1]);
      return std::vector<Variable>{result.output, result.hidden};
    }
  };
  const Shape states{options.layers * layer->directions(), d["B"], d["H"]};
  made.module = std::move(layer);
  made.inputs = {{"x", "B S I", {d["B"], d["S"], d["I"]}}, {"h0", "layer B H", states}};
  if (kHasCell) made.inputs.push_back({"c0", "layer B H", states});
  made.constants.emplace_back("lengths", lengths);
  made.declaration =
      fmt::format("{} layer({}, {}, {{.layers = {}, .bidirectional = {}, .bias = {}, .dropout = {}}}{});", name, d["I"],
                  d["H"], options.layers, options.bidirectional, options.bias, options.dropout, form);
  made.body = fmt::format("const RecurrentResult result = layer(x, lengths, h0{});\n    {}", kHasCell ? ", c0" : "",
                          kHasCell ? kWithCell : kWithoutCell);
  made.zeros.push_back({"steps behind the lengths", {}, {{"x", bool_tensor({d["B"], d["S"], d["I"]}, [&](auto i) {
                                                            return i[1] >= lengths.data<int64_t>()[i[0]];
                                                          })}}});
  return made;
}

Case make_gru_cell(const Options& o, const Draw& d) {
  const GruOptions form{o.flag("reset_after")};
  auto layer = std::make_unique<GRUCell>(d["I"], d["H"], o.flag("bias"), form);
  Case made;
  made.call = [&module = *layer](Inputs in) { return std::vector<Variable>{module(in[0], in[1])}; };
  made.module = std::move(layer);
  made.inputs = {{"x", "B I", {d["B"], d["I"]}}, {"h", "B H", {d["B"], d["H"]}}};
  made.declaration = fmt::format("GRUCell layer({}, {}, {}, {{.reset_after = {}}});", d["I"], d["H"], o.flag("bias"),
                                 form.reset_after);
  made.body = returns("layer(x, h)");
  return made;
}

Case make_rnn_cell(const Options& o, const Draw& d) {
  auto layer = std::make_unique<RnnCell>(d["I"], d["H"], o.flag("bias"));
  Case made;
  made.call = [&module = *layer](Inputs in) { return std::vector<Variable>{module(in[0], in[1])}; };
  made.module = std::move(layer);
  made.inputs = {{"x", "B I", {d["B"], d["I"]}}, {"h", "B H", {d["B"], d["H"]}}};
  made.declaration = fmt::format("RnnCell layer({}, {}, {});", d["I"], d["H"], o.flag("bias"));
  made.body = returns("layer(x, h)");
  return made;
}

Case make_lstm_cell(const Options& o, const Draw& d) {
  auto layer = std::make_unique<LSTMCell>(d["I"], d["H"], o.flag("bias"));
  Case made;
  made.call = [&module = *layer](Inputs in) {
    auto next = module(in[0], in[1], in[2]);
    return std::vector<Variable>{next.first, next.second};
  };
  made.module = std::move(layer);
  made.inputs = {{"x", "B I", {d["B"], d["I"]}}, {"h", "B H", {d["B"], d["H"]}}, {"c", "B H", {d["B"], d["H"]}}};
  made.declaration = fmt::format("LSTMCell layer({}, {}, {});", d["I"], d["H"], o.flag("bias"));
  made.body = "const auto next = layer(x, h, c);\n    return {next.first, next.second};";
  return made;
}

}  // namespace

void add_recurrent_rows(std::vector<LayerRow>& rows) {
  const OptionRow bias = flag_option("bias", true);
  const std::vector<OptionRow> layers = {
      {"layers", int64_t{1}, {int64_t{1}, int64_t{2}}}, flag_option("bidirectional", false), bias, dropout_option()};
  std::vector<OptionRow> gru_layers = layers;
  gru_layers.push_back(flag_option("reset_after", true));
  const std::vector<ExtentRow> sequence = {{"B", 1, 3}, {"S", 1, 4}, {"I", 1, 4}, {"H", 1, 4}};
  const std::vector<ExtentRow> step = {{"B", 1, 3}, {"I", 1, 4}, {"H", 1, 4}};
  rows.push_back({"GRU",
                  "gated recurrent units over packed lengths",
                  gru_layers,
                  sequence,
                  {},
                  [](const Options& o, const Draw& d) { return make_layers<GRU>("GRU", o, d); }});
  rows.push_back(
      {"LSTM", "long short-term memory over packed lengths", layers, sequence, {}, [](const Options& o, const Draw& d) {
         return make_layers<LSTM>("LSTM", o, d);
       }});
  rows.push_back({"Rnn",
                  "a plain recurrent network over packed lengths",
                  layers,
                  sequence,
                  {},
                  [](const Options& o, const Draw& d) { return make_layers<Rnn>("Rnn", o, d); }});
  rows.push_back({"GRUCell", "one step of a GRU", {bias, flag_option("reset_after", true)}, step, {}, make_gru_cell});
  rows.push_back({"RnnCell", "one step of an Rnn", {bias}, step, {}, make_rnn_cell});
  rows.push_back({"LSTMCell", "one step of an LSTM", {bias}, step, {}, make_lstm_cell});
}

}  // namespace attune::examples
