#include "layers/seq2seq/recurrent_text.h"

#include <span>
#include <utility>
#include <vector>

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "layers/seq2seq/parts.h"

namespace attune {
namespace {

constexpr const char* kRecurrentEncoder = "RecurrentTextEncoder";
constexpr const char* kRecurrentDecoder = "RecurrentTextDecoder";

TextEmbeddingOptions without_positions(double dropout) {
  return {.positions = TextPositions::kNone, .dropout = dropout};
}

AttentionConfig sized(AttentionConfig config, const RecurrentTextDecoderOptions& options) {
  config.sizes.query = options.hidden;
  config.sizes.key = options.memory_dim;
  config.sizes.heads = 1;
  config.align = Align::kFirst;  // while writing, nobody can say yet how many queries there will be
  return config;
}

bool feeds_features(const RecurrentTextDecoderOptions& options) {
  return options.attention.has_value() && options.form == RecurrentForm::kLuong;
}

/// What the rnn reads beside embeddings.
int64_t fed_width(const RecurrentTextDecoderOptions& options) {
  return feeds_features(options) ? options.dim : options.memory_dim;
}

int64_t feature_inputs(const RecurrentTextDecoderOptions& options) {
  return options.hidden + options.memory_dim + (feeds_features(options) ? 0 : options.dim);
}

int64_t gates_of(RecurrentCell cell) { return cell == RecurrentCell::kLstm ? 4 : 3; }

}  // namespace

RecurrentTextEncoder::RecurrentTextEncoder(const RecurrentTextEncoderOptions& options, const Variable& table)
    : embedding_(own("embedding", make_embedding(kRecurrentEncoder, options.vocabulary, options.dim,
                                                 without_positions(options.dropout), table))),
      rnn_(own("rnn",
               make_recurrent(
                   options.cell, options.dim, options.hidden,
                   {.layers = options.layers, .bidirectional = options.bidirectional, .dropout = options.dropout}))) {}

EncoderOutput RecurrentTextEncoder::operator()(const Tensor& tokens, const Tensor& lengths) {
  const RecurrentResult read = rnn_.run(embedding_(tokens), {.lengths = lengths});
  const int64_t directions = rnn_.directions(), layers = read.hidden.dim(0);
  const Variable last = slice(read.hidden, 0, layers - directions, layers);  // [directions, B, H]
  return {.states = result(read.output),
          .lengths = lengths,
          .summary = reshape(permute(last, {1, 0, 2}), {last.dim(1), directions * last.dim(2)})};
}

RecurrentTextDecoder::RecurrentTextDecoder(const RecurrentTextDecoderOptions& options, const Variable& table)
    : form_(options.form),
      embedding_(own("embedding", make_embedding(kRecurrentDecoder, options.vocabulary, options.dim,
                                                 without_positions(options.dropout), table))),
      input_(
          child<Linear>("input", options.dim, gates_of(options.cell) * options.hidden, LinearOptions{.bias = false})),
      first_(child<Linear>("first", options.memory_dim,
                           options.layers * options.hidden * (options.cell == RecurrentCell::kLstm ? 2 : 1),
                           LinearOptions{.activation = Activation::kTanh})),
      rnn_(own("rnn", make_recurrent(options.cell, fed_width(options), options.hidden,
                                     {.layers = options.layers, .dropout = options.dropout}))),
      feature_(child<Linear>("feature", feature_inputs(options), options.dim,
                             LinearOptions{.activation = Activation::kTanh, .dropout = options.dropout})),
      head_(own("head", make_head(embedding_, options.share_head, options.head_bias))) {
  if (options.attention) attention_ = &own("attention", make_attention(sized(*options.attention, options)));
}

RecurrentTextDecoder::Reading RecurrentTextDecoder::read(const EncoderOutput& source, int64_t steps) const {
  const Variable& states = source.states;
  if (states.rank() != 3 || states.dim(2) != first_.weight().dim(1)) [[unlikely]] {
    fail<ShapeError>("{}: the source's states are {}, expected [B, S, {}]", who(kRecurrentDecoder), states.shape(),
                     first_.weight().dim(1));
  }
  Reading reading{.summary = source.summary, .memory = {}};
  if (!reading.summary.defined()) {
    reading.summary = source.lengths.defined() ? masked_mean(states, source.lengths) : mean(states, {1});
  }
  if (attention_ != nullptr) {
    const Variable heads = reshape(states, {states.dim(0), states.dim(1), 1, states.dim(2)});
    reading.memory = attention_->prepare(heads, heads, padding_of(source), steps);
  }
  return reading;
}

RecurrentTextDecoder::State RecurrentTextDecoder::first_state(const Reading& reading) const {
  const int64_t batch = reading.summary.dim(0), hidden = rnn_.hidden_size(), layers = rnn_.options().layers;
  const Variable all = first_(reading.summary);  // [B, (states) layers H]
  const Variable states = permute(reshape(all, {batch, all.dim(1) / hidden, hidden}), {1, 0, 2});
  // States add up over many steps: bfloat16 is widened.
  const Variable wide = cast(states, accumulation_dtype(states.dtype()));
  State state;
  state.hidden = slice(wide, 0, 0, layers);
  if (states.dim(0) > layers) state.cell = slice(wide, 0, layers, 2 * layers);
  state.top = reshape(select(cast(state.hidden, states.dtype()), 0, layers - 1), {batch, 1, hidden});
  if (feeds_features()) {
    const Shape fed{batch, 1, feature_.weight().dim(0)};
    state.fed = Variable(Tensor::zeros(fed, all.dtype(), all.device()));
  }
  return state;
}

Variable RecurrentTextDecoder::advance(const Variable& x, const Variable& gates, State& state) const {
  RecurrentResult result = rnn_.run(x, {.hidden = state.hidden, .cell = state.cell, .gates = gates});
  state.hidden = std::move(result.hidden);
  state.cell = std::move(result.cell);
  return std::move(result.output);
}

RecurrentTextDecoder::Found RecurrentTextDecoder::summary_of(const Reading& reading, int64_t steps) const {
  const Variable& summary = reading.summary;
  const int64_t batch = summary.dim(0), width = summary.dim(1);
  return {.context = expand(reshape(summary, {batch, 1, width}), Shape{batch, steps, width}), .weights = {}};
}

RecurrentTextDecoder::Found RecurrentTextDecoder::attend(const Reading& reading, State& state,
                                                         bool want_weights) const {
  const Variable& top = state.top;
  const Variable query = reshape(top, {top.dim(0), 1, 1, top.dim(2)});
  AttentionResult result = attention_->step(query, reading.memory, state.attention, want_weights);
  const Variable& context = result.output;  // [B, 1, 1, M]
  return {.context = reshape(context, {context.dim(0), 1, context.dim(3)}), .weights = std::move(result.weights)};
}

RecurrentTextDecoder::Found RecurrentTextDecoder::step(const Reading& reading, const Variable& gates, State& state,
                                                       bool want_weights) const {
  if (form_ == RecurrentForm::kBahdanau) {
    Found found = attend(reading, state, want_weights);
    state.top = advance(found.context, gates, state);
    return found;
  }
  state.top = advance(state.fed, gates, state);
  Found found = attend(reading, state, want_weights);
  state.fed = feature_(concat({state.top, found.context}, 2));
  return found;
}

Variable RecurrentTextDecoder::features(const Variable& states, const Variable& contexts,
                                        const Variable& embedded) const {
  return feature_(concat({states, contexts, embedded}, 2));
}

Variable RecurrentTextDecoder::operator()(const EncoderOutput& source, const Tensor& tokens) {
  return result(run(source, tokens, nullptr));
}

Variable RecurrentTextDecoder::teach(const EncoderOutput& source, const Tensor& tokens, TaughtAttention& taught) {
  require<ValueError>(attention_ != nullptr, "{}: teach() asks a decoder without attention what it looked at",
                      who(kRecurrentDecoder));
  return result(run(source, tokens, &taught));
}

Variable RecurrentTextDecoder::run(const EncoderOutput& source, const Tensor& tokens, TaughtAttention* taught) const {
  const Variable embedded = embedding_(tokens);  // [B, T, D]
  const Variable gates = input_(embedded);       // [B, T, G H]
  const int64_t steps = tokens.dim(1);
  const Reading reading = read(source, steps);
  State state = first_state(reading);
  if (attention_ == nullptr) {
    const Variable contexts = summary_of(reading, steps).context;
    return features(advance(contexts, gates, state), contexts, embedded);
  }
  require<ShapeError>(steps > 0, "{}: tokens are {}, expected at least one of each sample", who(kRecurrentDecoder),
                      tokens.shape());
  std::vector<Variable> states, contexts;  // of every step; features in place of states where those are fed
  std::vector<Variable> weights, log_probabilities, entropies;
  for (int64_t t = 0; t < steps; ++t) {
    Found found = step(reading, slice(gates, 1, t, t + 1), state, taught != nullptr);
    if (taught != nullptr) {
      weights.push_back(std::move(found.weights));
      if (state.attention.log_probability.defined()) {
        log_probabilities.push_back(state.attention.log_probability);
        entropies.push_back(state.attention.entropy);
      }
    }
    states.push_back(feeds_features() ? state.fed : state.top);
    contexts.push_back(std::move(found.context));
  }
  if (taught != nullptr) {
    taught->weights = concat(weights, 2);
    const bool chosen = !log_probabilities.empty();
    taught->log_probability = chosen ? concat(log_probabilities, 1) : Variable();
    taught->entropy = chosen ? concat(entropies, 1) : Variable();
  }
  if (feeds_features()) return concat(states, 1);
  return features(concat(states, 1), concat(contexts, 1), embedded);
}

class RecurrentGeneration : public Generation {
 public:
  RecurrentGeneration(const RecurrentTextDecoder& decoder, const EncoderOutput& source, bool attention)
      : decoder_(decoder), wants_attention_(attention) {
    const NoGrad values_only;
    constexpr int64_t kAnyNumber = int64_t{1} << 40;  // the mask is the same for all queries
    reading_ = decoder.read(source, kAnyNumber);
    state_ = decoder.first_state(reading_);
    if (source.lengths.defined()) lengths_ = source.lengths.to(Device::cpu()).contiguous();
    for (int64_t b = 0; b < source.states.dim(0); ++b) samples_.push_back(b);
  }

  int64_t batch() const override { return static_cast<int64_t>(samples_.size()); }
  int64_t vocabulary() const override { return decoder_.vocabulary(); }

  Tensor step(const Tensor& tokens) override {
    const NoGrad values_only;
    check_step(decoder_, kRecurrentDecoder, tokens, batch());
    const Variable embedded = decoder_.embedding_(tokens.reshape({batch(), 1}));
    const Variable gates = decoder_.input_(embedded);
    const bool attends = decoder_.attention_ != nullptr;
    const RecurrentTextDecoder::Found found =
        attends ? decoder_.step(reading_, gates, state_, wants_attention_) : decoder_.summary_of(reading_, 1);
    if (!attends) state_.top = decoder_.advance(found.context, gates, state_);
    weights_ = found.weights;
    const Variable feature =
        decoder_.feeds_features() ? state_.fed : decoder_.features(state_.top, found.context, embedded);
    return decoder_.head_(Variable(feature.value().select(1, 0))).value();
  }

  void select(const Tensor& rows) override {
    const NoGrad values_only;
    require<ShapeError>(rows.rank() == 1, "{}: rows are {}, expected [n]", decoder_.who(kRecurrentDecoder),
                        rows.shape());
    const Tensor chosen = check_indices(kRecurrentDecoder, "row", rows, batch());
    const auto pick = [&](Variable& x, int axis) {
      if (x.defined()) x = index_select(x, axis, chosen);
    };
    pick(state_.hidden, 1);
    pick(state_.cell, 1);
    pick(state_.top, 0);
    pick(state_.fed, 0);
    state_.attention = state_.attention.of_samples(chosen);
    weights_ = Variable();
    select_source(chosen, pick);
  }

  Tensor attention() const override {
    return weights_.defined() ? weights_.value().select(2, 0).select(1, 0) : Tensor();
  }

 private:
  /// Copies the source only where a sequence gets another one: a beam search that keeps a sample's beams together
  /// copies it once.
  template <class Pick>
  void select_source(const Tensor& chosen, const Pick& pick) {
    const std::span rows(chosen.data<int64_t>(), static_cast<size_t>(chosen.numel()));
    std::vector<int64_t> samples;
    for (int64_t row : rows) samples.push_back(samples_[static_cast<size_t>(row)]);
    if (samples == samples_) return;
    samples_ = std::move(samples);
    pick(reading_.summary, 0);
    AttentionMemory& memory = reading_.memory;
    pick(memory.k, 0);
    memory.v = memory.k;
    pick(memory.prepared, 0);
    if (!lengths_.defined()) return;
    std::vector<int64_t> lengths;
    for (int64_t row : rows) lengths.push_back(std::as_const(lengths_).data<int64_t>()[row]);
    lengths_ = Tensor::from(lengths, chosen.shape());
    memory.mask = AttentionMask::padding(lengths_);
  }

  const RecurrentTextDecoder& decoder_;
  RecurrentTextDecoder::Reading reading_;
  RecurrentTextDecoder::State state_;
  Tensor lengths_;
  std::vector<int64_t> samples_;  // of each sequence: the sample of start() that it writes about
  bool wants_attention_;
  Variable weights_;  // [B, 1, 1, S]
};

std::unique_ptr<Generation> RecurrentTextDecoder::start(const EncoderOutput& source, const GenerationOptions& options) {
  require_evaluation(*this, kRecurrentDecoder);
  return std::make_unique<RecurrentGeneration>(*this, source, options.attention);
}

}  // namespace attune
