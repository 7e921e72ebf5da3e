#pragma once

// Options that blocks, stacks and the whole Transformer have in common, handed from one to the next.

namespace attune {

template <class To, class From>
To common_options(const From& from) {
  To to;
  to.dim = from.dim;
  to.heads = from.heads;
  to.ffn_dim = from.ffn_dim;
  to.dropout = from.dropout;
  to.attention_dropout = from.attention_dropout;
  to.hidden_dropout = from.hidden_dropout;
  to.activation = from.activation;
  to.norm_first = from.norm_first;
  to.norm_eps = from.norm_eps;
  to.bias = from.bias;
  to.key_heads = from.key_heads;
  to.positions = from.positions;
  return to;
}

}  // namespace attune
