#include "tests/benchmarks/sentiment_model.h"

#include "attune.h"

namespace attune::bench {

double SentimentShape::operations() const {
  const auto d = static_cast<double>(dim);
  const auto rows = static_cast<double>(tokens());
  const double block =
      rows * 2 * (4 * d * d + 2 * d * static_cast<double>(ffn)) + 4 * rows * static_cast<double>(length) * d;
  return 3 * (static_cast<double>(blocks) * block + 2 * static_cast<double>(batch) * d * 2);
}

SentimentBatch sentiment_batch(const SentimentShape& shape) {
  RandomStream random(1);
  std::vector<int64_t> tokens, lengths, labels;
  for (int64_t i = 0; i < shape.tokens(); ++i) {
    tokens.push_back(1 + static_cast<int64_t>(random.below(static_cast<uint64_t>(shape.vocabulary - 1))));
  }
  for (int64_t b = 0; b < shape.batch; ++b) {
    const auto spread = static_cast<uint64_t>(shape.length - shape.length / 4 + 1);
    lengths.push_back(b == 0 ? shape.length : shape.length / 4 + static_cast<int64_t>(random.below(spread)));
    labels.push_back(static_cast<int64_t>(random.below(2)));
  }
  return {Tensor::from(tokens, {shape.batch, shape.length}), Tensor::from(lengths, {shape.batch}),
          Tensor::from(labels, {shape.batch})};
}

namespace {

struct Model : Module {
  Model(const SentimentShape& shape, double dropout_probability)
      : embed(child<Embedding>("embed", shape.vocabulary, shape.dim, EmbeddingOptions{.scale = true})),
        positions(child<LearnedPositions>("positions", shape.dim, shape.length)),
        drop(child<Dropout>("drop", dropout_probability)),
        encoder(
            child<TransformerEncoder>("encoder", TransformerEncoderOptions{.blocks = shape.blocks,
                                                                           .block = {.dim = shape.dim,
                                                                                     .heads = shape.heads,
                                                                                     .ffn_dim = shape.ffn,
                                                                                     .dropout = dropout_probability}})),
        pool(child<MeanPooling>("pool")),
        head(child<Linear>("head", shape.dim, 2)) {}

  Variable operator()(const Tensor& tokens, const Tensor& lengths) const {
    const Variable x = drop(positions(embed(tokens)));
    return head(pool(encoder(x, AttentionMask::padding(lengths)), lengths));
  }

  Embedding& embed;
  LearnedPositions& positions;
  Dropout& drop;
  TransformerEncoder& encoder;
  MeanPooling& pool;
  Linear& head;
};

}  // namespace

struct SentimentStep::Parts {
  Parts(const SentimentShape& shape, double dropout, Device device, Precision precision)
      : model(shape, dropout), batch(sentiment_batch(shape)) {
    model.to(device);
    model.set_precision(precision);
    adam = std::make_unique<Adam>(model.named_parameters(), AdamOptions{.learning_rate = 1e-4});
    graphs = std::make_unique<StepGraphs>(GraphMode::kOn, model.named_parameters());
  }
  Variable loss() const { return cross_entropy(model(batch.tokens, batch.lengths), batch.labels); }

  Model model;
  SentimentBatch batch;
  std::unique_ptr<Adam> adam;
  std::unique_ptr<StepGraphs> graphs;
};

SentimentStep::SentimentStep(const SentimentShape& shape, double dropout, Device device, Precision precision)
    : parts_(new Parts(shape, dropout, device, precision)) {}
SentimentStep::~SentimentStep() { delete parts_; }

double SentimentStep::operator()() {
  const Variable loss = parts_->loss();
  loss.backward();
  parts_->adam->step();
  return loss.item();
}

void SentimentStep::give() {
  const SentimentBatch& batch = parts_->batch;
  const Tensor inputs[] = {batch.tokens, batch.lengths, batch.labels};
  parts_->graphs->run(inputs, [this](std::vector<Tensor>& found) {
    const Variable loss = parts_->loss();
    loss.backward();
    found.push_back(loss.value());
  });
  parts_->adam->step();
}

}  // namespace attune::bench
