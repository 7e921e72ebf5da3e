#include "datasets/encode_pairs.h"

#include <algorithm>

#include "framework/fail.h"

namespace attune {
namespace {

/// <eos> behind the tokens, which are cut to make room for it; true when something was cut.
bool end_within(std::vector<int64_t>& ids, size_t most) {
  const bool cut = ids.size() >= most;
  if (cut) ids.resize(most - 1);
  ids.push_back(TextCodec::kEnd);
  return cut;
}

}  // namespace

std::string EncodedPairs::to_string() const {
  return fmt::format("{} pairs with {} source and {} target tokens ({} and {} unknown), {} overlong", pairs.size(),
                     pairs.source.token_count(), pairs.target.token_count(), source_unknown, target_unknown, overlong);
}

EncodedPairs encode_pairs(const ParallelCorpus& corpus, const TextCodec& source, const TextCodec& target,
                          const PairEncodeOptions& options) {
  require<ValueError>(options.max_length == 0 || options.max_length >= 2,
                      "encode_pairs: max_length is {}, expected 0 (no limit) or at least 2", options.max_length);
  const size_t most = options.max_length == 0 ? SIZE_MAX : static_cast<size_t>(options.max_length);
  EncodedPairs encoded;
  for (size_t i = 0; i < corpus.source.size(); ++i) {
    std::vector<int64_t> source_ids = source.encode(corpus.source[i]);
    std::vector<int64_t> target_ids = target.encode(corpus.target[i]);
    const int64_t unknown[] = {std::count(source_ids.begin(), source_ids.end(), TextCodec::kUnknown),
                               std::count(target_ids.begin(), target_ids.end(), TextCodec::kUnknown)};
    const size_t lengths[] = {source_ids.size() + 1, target_ids.size() + 1};
    const bool source_cut = end_within(source_ids, most);
    const bool target_cut = end_within(target_ids, most);
    if (source_cut || target_cut) {
      require<FormatError>(options.overlong != Overlong::kError,
                           "{}: {} and {} tokens, expected at most {}; shorten the sentences or allow truncation",
                           corpus.origin(i), lengths[0], lengths[1], most);
      ++encoded.overlong;
      if (options.overlong == Overlong::kLeaveOut) continue;
    }
    encoded.source_unknown += unknown[0];
    encoded.target_unknown += unknown[1];
    target_ids.insert(target_ids.begin(), TextCodec::kBegin);
    encoded.pairs.add(source_ids, target_ids);
    encoded.numbers.push_back(i);
  }
  require<FormatError>(encoded.pairs.size() > 0, "{} and {}: all {} pairs are longer than {} tokens, expected some",
                       corpus.source_path, corpus.target_path, corpus.size(), most);
  return encoded;
}

}  // namespace attune
