#include "layers/feed_forward.h"

#include "framework/fail.h"

namespace attune {
namespace {

/// Of the first product, which applies activation and dropout by itself where nothing stands between.
LinearOptions first_options(const FeedForwardOptions& options) {
  LinearOptions first{.bias = options.bias};
  if (options.kind == FeedForwardKind::kGated) return first;
  first.activation = options.activation.fused();
  if (options.activation.is_fused()) first.dropout = options.dropout;
  return first;
}

}  // namespace

FeedForward::FeedForward(int64_t dim, int64_t hidden, const FeedForwardOptions& options)
    : activation_(options.activation),
      dropout_(options.dropout),
      linear1_(child<Linear>("linear1", dim, hidden, first_options(options))),
      gate_(options.kind == FeedForwardKind::kPlain
                ? nullptr
                : &child<Linear>("gate", dim, hidden,
                                 LinearOptions{.bias = options.bias, .activation = options.activation.fused()})),
      linear2_(child<Linear>("linear2", hidden, dim, LinearOptions{.bias = options.bias})) {
  require<ValueError>(dropout_ >= 0 && dropout_ < 1, "FeedForward: dropout {} given, expected 0 <= p < 1", dropout_);
}

Variable FeedForward::operator()(const Variable& x) const {
  if (gate_ != nullptr) return result(linear2_(dropped(mul(activation_.apply((*gate_)(x)), linear1_(x)))));
  const Variable hidden = linear1_(x);
  return result(linear2_(activation_.is_fused() ? hidden : dropped(activation_.apply(hidden))));
}

Variable FeedForward::dropped(const Variable& hidden) const {
  return training() && dropout_ > 0 ? dropout(hidden, dropout_) : hidden;
}

}  // namespace attune
