#include "layers/transformer/transformer.h"

#include "layers/transformer/options.h"

namespace attune {
namespace {

template <class Options>
Options stack_options(const TransformerOptions& from, int64_t blocks) {
  auto options = common_options<Options>(from);
  options.blocks = blocks;
  options.final_norm = from.final_norm;
  return options;
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
