#pragma once

#include <string>
#include <vector>

#include "layers/attention/mask.h"
#include "tests/golden/session.h"

// What PyTorch's attention modules have in common: senses of masks and names of parameters.

namespace attune::golden {

/// The mask [T, S], or [B * H, T, S] seen as [B, H, T, S]: boolean, true = may not be attended to; or floating, added
/// to the scores. Allows everything when the case has no such input.
AttentionMask attention_mask(Session& session, const std::string& name, int64_t heads);

/// The same for keys, [B, S].
AttentionMask key_mask(Session& session, const std::string& name);

/// Parameters of nn.MultiheadAttention below `torch` as those of MultiHeadAttention below `ours`, both ending in a dot.
std::vector<Link> multi_head_links(const std::string& torch, const std::string& ours);

/// x [B, N, D], whichever way the case has it; its own inverse. Throws Skip for sequences without a batch.
Variable batch_in_front(const Variable& x, bool batch_first);

}  // namespace attune::golden
