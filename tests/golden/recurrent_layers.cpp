#include "autograd/ops/ops.h"
#include "layers/recurrent.h"
#include "tests/golden/layers.h"

namespace attune::golden {
namespace {

/// Attune's parameters are called as PyTorch's.
template <class Module>
void load_same_names(Session& session, Module& module) {
  std::vector<Link> links;
  for (const auto& [name, parameter] : module.named_parameters()) links.push_back({name, name});
  session.load(module, links);
}

struct Sequence {
  int64_t inputs;
  int64_t hidden;
  RecurrentOptions layer;
  bool batch_first;
};

Sequence read_options(Options& options) {
  options.ignore({"dropout"});  // the cases are computed in evaluation mode
  options.only("proj_size", 0);
  return {options.required("input_size"),
          options.required("hidden_size"),
          {.layers = options.get<int64_t>("num_layers", 1),
           .bidirectional = options.get("bidirectional", false),
           .bias = options.get("bias", true)},
          options.get("batch_first", false)};
}

Variable batch_in_front(const Variable& x, bool batch_first) {
  if (x.rank() != 3) throw Skip("sequences without a batch are not in Attune");
  return batch_first ? x : transpose(x, 0, 1);
}

Variable state(Session& session, const std::string& name) {
  return session.has(name) ? session.input(name) : Variable();
}

void run_gru(Session& session, Options& options, AttentionPath) {
  const Sequence sequence = read_options(options);
  GRU layer(sequence.inputs, sequence.hidden, sequence.layer);
  load_same_names(session, layer);
  const Variable x = batch_in_front(session.input("input"), sequence.batch_first);
  const RecurrentResult result = layer(x, {}, state(session, "hx"));
  session.output("output", batch_in_front(result.output, sequence.batch_first));
  session.output("h_n", result.hidden);
}

void run_lstm(Session& session, Options& options, AttentionPath) {
  const Sequence sequence = read_options(options);
  LSTM layer(sequence.inputs, sequence.hidden, sequence.layer);
  load_same_names(session, layer);
  const Variable x = batch_in_front(session.input("input"), sequence.batch_first);
  const RecurrentResult result = layer(x, {}, state(session, "h_0"), state(session, "c_0"));
  session.output("output", batch_in_front(result.output, sequence.batch_first));
  session.output("h_n", result.hidden);
  session.output("c_n", result.cell);
}

}  // namespace

const std::vector<Layer> kRecurrentLayers = {
    {"GRU", &run_gru, false},
    {"LSTM", &run_lstm, false},
};

}  // namespace attune::golden
