#include "examples/translation/alignments.h"

#include <algorithm>
#include <utility>

#include "autograd/tape.h"
#include "datasets/pair_loader.h"
#include "datasets/utf8.h"
#include "framework/fail.h"
#include "framework/math/rearrange.h"
#include "framework/math/reduce.h"
#include "layers/attention/recorder.h"

namespace attune::examples::translation {
namespace {

using Record = AttentionRecorder::Record;

/// Which sequences a layer's queries and keys are.
enum class Role : uint8_t { kSource, kCross, kTarget };

Role role_of(const std::string& path) {
  if (path.starts_with("encoder.")) return Role::kSource;
  return path.ends_with(".attn") ? Role::kTarget : Role::kCross;
}

/// Reads the sources and writes the targets.
void forced_pass(TranslationModel& model, const PairBatch& batch) {
  model(batch.source, batch.source_lengths, batch.target_in);
}

std::vector<std::string> shown(const TextCodec& codec, std::span<const int64_t> tokens) {
  std::vector<std::string> names;
  for (const int64_t token : tokens) names.push_back(codec.token(token));
  return names;
}

/// <bos> before the tokens.
std::vector<int64_t> begun(std::span<const int64_t> tokens) {
  std::vector<int64_t> ids = {TextCodec::kBegin};
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  return ids;
}

/// What was recorded by layers of cross-attention, in the order of the model. A recurrent decoder makes a record with
/// every token: these are one layer's rows.
std::vector<std::pair<std::string, std::vector<Tensor>>> cross_attentions(std::span<const Record> records) {
  std::vector<std::pair<std::string, std::vector<Tensor>>> layers;
  for (const Record& record : records) {
    if (role_of(record.path) != Role::kCross) continue;
    auto layer =
        std::find_if(layers.begin(), layers.end(), [&](const auto& other) { return other.first == record.path; });
    if (layer == layers.end()) layer = layers.insert(layers.end(), {record.path, {}});
    layer->second.push_back(record.weights.to(Device::cpu()).contiguous());
  }
  return layers;
}

/// Mean over the heads of sample b of weights [B, H, T, S], given as blocks of rows; cut to [rows, columns].
Tensor mean_over_heads(std::span<const Tensor> blocks, int64_t b, int64_t rows, int64_t columns) {
  std::vector<Tensor> means;
  for (const Tensor& block : blocks)
    means.push_back(mean(block.select(0, b).slice(2, 0, columns).to(DType::kFloat32), {0}));
  return concat(means, 0).slice(0, 0, rows).contiguous();
}

size_t word_count(std::string_view text) { return utf8::split(text).size(); }

}  // namespace

AttentionExample attention_example(const TranslationParts& parts, std::span<const int64_t> source,
                                   std::span<const int64_t> target) {
  const NoGrad no_grad;
  const Evaluating evaluating(parts.model);
  SequencePairs pair;
  const std::vector<int64_t> whole = begun(target);
  pair.add(source, whole);
  PairLoader loader(pair, {.batches = {.shuffle = false}, .prefetch = 0});
  AttentionRecorder recorder(parts.model);
  forced_pass(parts.model, *loader.next());

  AttentionExample example{
      .sequences = {{"source", shown(*parts.source.codec, source)},
                    {"translation", shown(*parts.target.codec, target)},
                    {"so far", shown(*parts.target.codec, std::span(whole).first(target.size()))}}};
  for (const Record& record : recorder.records()) {
    const Role role = role_of(record.path);
    example.add(record, 0, role == Role::kSource ? 0 : 1, role == Role::kTarget ? 2 : 0);
  }
  // A page opens with the first map: let it be an alignment, of the layer that is nearest to the words written.
  const auto end_of_cross =
      std::stable_partition(example.maps.begin(), example.maps.end(),
                            [](const AttentionMap& map) { return role_of(map.layer) == Role::kCross; });
  std::reverse(example.maps.begin(), end_of_cross);
  return example;
}

std::vector<LayerAlignment> score_alignments(const TranslationParts& parts, std::span<const BilingualPair> pairs) {
  SequencePairs tokens;
  std::vector<const BilingualPair*> known;
  for (const BilingualPair& pair : pairs) {
    const std::string source = parts.source.preparation(pair.source);
    const std::string target = parts.target.preparation(pair.target);
    if (word_count(source) != word_count(pair.source) || word_count(target) != word_count(pair.target)) continue;
    std::vector<int64_t> source_tokens = parts.source.codec->encode(source);
    std::vector<int64_t> target_tokens = parts.target.codec->encode(target);
    source_tokens.push_back(TextCodec::kEnd);
    target_tokens.push_back(TextCodec::kEnd);
    if (std::ssize(source_tokens) > parts.max_length || std::ssize(target_tokens) > parts.max_length) continue;
    tokens.add(source_tokens, begun(target_tokens));
    known.push_back(&pair);
  }
  std::vector<LayerAlignment> layers;
  if (known.empty()) return layers;

  const NoGrad no_grad;
  const Evaluating evaluating(parts.model);
  PairLoader loader(std::move(tokens), {.batches = {.max_examples = 64, .shuffle = false}, .prefetch = 0});
  AttentionRecorder recorder(parts.model);
  while (const PairBatch* batch = loader.next()) {
    recorder.clear();
    forced_pass(parts.model, *batch);
    const auto weights = cross_attentions(recorder.records());
    if (layers.empty()) {
      for (const auto& layer : weights) layers.push_back({layer.first, {}});
    }
    for (size_t b = 0; b < batch->examples.size(); ++b) {
      const int64_t number = batch->examples[b];
      const std::span<const int64_t> source = loader.data().source.tokens(number);
      const std::span<const int64_t> target = loader.data().target.tokens(number).subspan(1);
      const std::vector<int64_t> source_words = parts.source.codec->words_of(source);
      const std::vector<int64_t> target_words = parts.target.codec->words_of(target);
      const BilingualPair& pair = *known[static_cast<size_t>(number)];
      for (size_t i = 0; i < layers.size(); ++i) {
        const Tensor mean =
            mean_over_heads(weights[i].second, static_cast<int64_t>(b), std::ssize(target), std::ssize(source));
        layers[i].score.add(pair.sure, pair.possible, links_of(mean, target_words, source_words));
      }
    }
  }
  return layers;
}

}  // namespace attune::examples::translation
