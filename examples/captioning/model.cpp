#include "examples/captioning/model.h"

#include "autograd/ops/ops.h"

namespace attune::examples::captioning {

Variable CaptioningModel::operator()(const Tensor& pictures, const Tensor& picture_of, const Tensor& tokens) {
  EncoderOutput source = encoder_(pictures);
  // As many captions as pictures: caption b is about picture b (see CaptionBatch).
  if (picture_of.numel() != pictures.dim(0)) source.states = index_select(source.states, 0, picture_of);
  return decoder_(source, tokens);
}

}  // namespace attune::examples::captioning
