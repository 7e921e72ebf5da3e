#include "layers/seq2seq/transformer_text.h"

#include <utility>

#include "autograd/tape.h"
#include "layers/seq2seq/parts.h"

namespace attune {
namespace {

constexpr const char* kTransformerEncoder = "TransformerTextEncoder";
constexpr const char* kTransformerDecoder = "TransformerTextDecoder";

class TransformerGeneration : public Generation {
 public:
  TransformerGeneration(const TransformerTextDecoder& decoder, TransformerDecoderCache cache, bool attention)
      : decoder_(decoder), cache_(std::move(cache)), wants_attention_(attention) {}

  int64_t batch() const override { return cache_.batch(); }
  int64_t vocabulary() const override { return decoder_.vocabulary(); }

  Tensor step(const Tensor& tokens) override {
    const NoGrad values_only;
    check_step(decoder_, kTransformerDecoder, tokens, batch());
    const Variable x = decoder_.embedding()(tokens.reshape({batch(), 1}), cache_.length());
    const Variable y = decoder_.decoder().step(x, cache_, {}, wants_attention_ ? &attention_ : nullptr);
    return decoder_.head()(Variable(y.value().select(1, 0))).value();
  }

  void select(const Tensor& rows) override {
    cache_.select(rows);
    attention_ = Tensor();
  }

  Tensor attention() const override { return attention_.defined() ? attention_.select(1, 0) : attention_; }

 private:
  const TransformerTextDecoder& decoder_;
  TransformerDecoderCache cache_;
  bool wants_attention_;
  Tensor attention_;  // [B, 1, S]
};

}  // namespace

TransformerTextEncoder::TransformerTextEncoder(const TransformerTextEncoderOptions& options, const Variable& table)
    : embedding_(own("embedding", make_embedding(kTransformerEncoder, options.vocabulary, options.encoder.block.dim,
                                                 options.embedding, table))),
      encoder_(child<TransformerEncoder>("encoder", options.encoder)) {}

EncoderOutput TransformerTextEncoder::operator()(const Tensor& tokens, const Tensor& lengths) {
  EncoderOutput output{.states = {}, .lengths = lengths};
  output.states = result(encoder_(embedding_(tokens), padding_of(output)));
  return output;
}

TransformerTextDecoder::TransformerTextDecoder(const TransformerTextDecoderOptions& options, const Variable& table)
    : embedding_(own("embedding", make_embedding(kTransformerDecoder, options.vocabulary, options.decoder.block.dim,
                                                 options.embedding, table))),
      decoder_(child<TransformerDecoder>("decoder", options.decoder)),
      head_(own("head", make_head(embedding_, options.share_head, options.head_bias))) {}

Variable TransformerTextDecoder::operator()(const EncoderOutput& source, const Tensor& tokens) {
  return result(decoder_(embedding_(tokens), source.states, AttentionMask::causal(), padding_of(source)));
}

std::unique_ptr<Generation> TransformerTextDecoder::start(const EncoderOutput& source,
                                                          const GenerationOptions& options) {
  require_evaluation(*this, kTransformerDecoder);
  return std::make_unique<TransformerGeneration>(*this, decoder_.start(source.states, source.lengths, options.capacity),
                                                 options.attention);
}

}  // namespace attune
