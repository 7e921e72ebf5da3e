#include "layers/transformer/transformer.h"

namespace attune {

Transformer::Transformer(const TransformerOptions& options)
    : encoder_(child<TransformerEncoder>("encoder", TransformerEncoderOptions{.blocks = options.encoder_blocks,
                                                                              .block = options.block,
                                                                              .final_norm = options.final_norm})),
      decoder_(child<TransformerDecoder>("decoder", TransformerDecoderOptions{.blocks = options.decoder_blocks,
                                                                              .block = options.block,
                                                                              .memory = {},
                                                                              .final_norm = options.final_norm})) {}

Variable Transformer::operator()(const Variable& source, const Variable& target, const TransformerMasks& masks) const {
  return result(decoder_(target, encoder_(source, masks.source), masks.target, masks.memory));
}

}  // namespace attune
