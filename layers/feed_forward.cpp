#include "layers/feed_forward.h"

namespace attune {

FeedForward::FeedForward(int64_t dim, int64_t hidden, FeedForwardOptions options)
    : linear1_(child<Linear>(
          "linear1", dim, hidden,
          LinearOptions{.bias = options.bias, .activation = options.activation, .dropout = options.dropout})),
      linear2_(child<Linear>("linear2", hidden, dim, LinearOptions{.bias = options.bias})) {}

}  // namespace attune
