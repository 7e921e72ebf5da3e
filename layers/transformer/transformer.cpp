#include "layers/transformer/transformer.h"

namespace attune {
namespace {

/// The options that both stacks have.
template <class Options>
Options stack_options(const TransformerOptions& from, int64_t blocks) {
  return {.dim = from.dim,
          .heads = from.heads,
          .blocks = blocks,
          .ffn_dim = from.ffn_dim,
          .dropout = from.dropout,
          .activation = from.activation,
          .norm_first = from.norm_first,
          .norm_eps = from.norm_eps,
          .bias = from.bias,
          .final_norm = from.final_norm,
          .key_heads = from.key_heads,
          .positions = from.positions};
}

}  // namespace

Transformer::Transformer(TransformerOptions options)
    : encoder_(child<TransformerEncoder>("encoder",
                                         stack_options<TransformerEncoderOptions>(options, options.encoder_blocks))),
      decoder_(child<TransformerDecoder>("decoder",
                                         stack_options<TransformerDecoderOptions>(options, options.decoder_blocks))) {}

Variable Transformer::operator()(const Variable& source, const Variable& target, const TransformerMasks& masks) const {
  return decoder_(target, encoder_(source, masks.source), masks.target, masks.memory);
}

}  // namespace attune
