#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "framework/error.h"
#include "framework/kernels/cuda/check.h"
#include "framework/kernels/cuda/matrix_steps.h"
#include "framework/kernels/cuda/product.h"

namespace attune::cuda {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;  // what NVIDIA recommends for Hopper

/// What a product's plan depends on. Without padding, so that it can be compared as bytes.
struct Key {
  int64_t m, n, k, batches;
  int64_t a_step, b_step, c_step, a_batch, b_batch, c_batch;
  int64_t device;
  int16_t dtype, c_dtype;
  int32_t a_transposed, b_transposed, epilogue, accumulate, alignment;

  bool operator==(const Key& other) const { return std::memcmp(this, &other, sizeof(Key)) == 0; }
};
static_assert(sizeof(Key) == 11 * 8 + 2 * 2 + 5 * 4);

struct HashKey {
  size_t operator()(const Key& key) const {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(&key), sizeof(key)});
  }
};

/// Everything that cublasLtMatmul() takes but the pointers.
struct Plan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr;
  cublasLtMatrixLayout_t b = nullptr;
  cublasLtMatrixLayout_t c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};

  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (c != nullptr) cublasLtMatrixLayoutDestroy(c);
    if (b != nullptr) cublasLtMatrixLayoutDestroy(b);
    if (a != nullptr) cublasLtMatrixLayoutDestroy(a);
    if (operation != nullptr) cublasLtMatmulDescDestroy(operation);
  }
};

cudaDataType_t element_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return CUDA_R_64F;
    case DType::kBFloat16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

DType c_dtype(const Product& p) { return p.wide_c ? DType::kFloat32 : p.dtype; }

template <class T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t what, const T& value) {
  ATTUNE_CUDA(cublasLtMatmulDescSetAttribute(operation, what, &value, sizeof(value)));
}

cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t step, int64_t batches,
                              int64_t batch) {
  cublasLtMatrixLayout_t out = nullptr;
  ATTUNE_CUDA(
      cublasLtMatrixLayoutCreate(&out, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), step));
  const auto count = static_cast<int32_t>(batches);
  ATTUNE_CUDA(cublasLtMatrixLayoutSetAttribute(out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)));
  ATTUNE_CUDA(
      cublasLtMatrixLayoutSetAttribute(out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch, sizeof(batch)));
  return out;
}

/// The addresses in an epilogue are part of the operation's description, and not of the plan.
void set_addresses(const Plan& plan, const Product& p) {
  if (p.bias != nullptr) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  if (p.z != nullptr) set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.z);
}

/// cuBLAS counts columns first: it sees every matrix transposed, and is asked for c^T = b^T a^T. Null where it has no
/// way to compute that.
std::unique_ptr<Plan> make_plan(const Context& context, const Key& key, const Product& p) {
  auto plan = std::make_unique<Plan>();
  const auto dtype = static_cast<DType>(key.dtype);
  const cudaDataType_t type = element_type(dtype);
  const bool wide = dtype == DType::kFloat64;
  ATTUNE_CUDA(cublasLtMatmulDescCreate(&plan->operation, wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                       wide ? CUDA_R_64F : CUDA_R_32F));
  set(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, key.b_transposed != 0 ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, key.a_transposed != 0 ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<cublasLtEpilogue_t>(key.epilogue));
  if (p.z != nullptr) set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, key.n);
  set_addresses(*plan, p);
  plan->a = key.b_transposed != 0 ? layout(type, key.k, key.n, key.b_step, key.batches, key.b_batch)
                                  : layout(type, key.n, key.k, key.b_step, key.batches, key.b_batch);
  plan->b = key.a_transposed != 0 ? layout(type, key.m, key.k, key.a_step, key.batches, key.a_batch)
                                  : layout(type, key.k, key.m, key.a_step, key.batches, key.a_batch);
  plan->c = layout(element_type(c_dtype(p)), key.n, key.m, key.c_step, key.batches, key.c_batch);

  cublasLtMatmulPreference_t made = nullptr;
  ATTUNE_CUDA(cublasLtMatmulPreferenceCreate(&made));
  const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, cublasStatus_t (*)(cublasLtMatmulPreference_t)> preference(
      made, cublasLtMatmulPreferenceDestroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
    ATTUNE_CUDA(cublasLtMatmulPreferenceSetAttribute(preference.get(), what, &value, sizeof(value)));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  const auto alignment = static_cast<uint32_t>(key.alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(context.cublas, plan->operation, plan->a, plan->b,
                                                               plan->c, plan->c, preference.get(), 1, &best, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0)) return nullptr;
  check(status, "cublasLtMatmulAlgoGetHeuristic(...)");
  plan->algorithm = best.algo;
  return plan;
}

struct Plans {
  std::mutex mutex;
  /// Null: there is no way.
  std::unordered_map<Key, std::unique_ptr<Plan>, HashKey> known;
};

/// Never destroyed, as contexts.
Plans& plans() {
  static auto* all = new Plans;
  return *all;
}

/// The product of nothing: c = 0, or as it was; with a bias, cuBLAS has nothing to add it to.
void clear(const Context& context, const Product& p) {
  if (p.accumulate) return;
  const size_t element = dtype_size(c_dtype(p));
  const int64_t step = p.c_rows > 0 ? p.c_rows : p.n;
  for (int64_t i = 0; i < p.batches; ++i) {
    ATTUNE_CUDA(cudaMemset2DAsync(static_cast<std::byte*>(p.c) + static_cast<size_t>(i * p.c_batch) * element,
                                  static_cast<size_t>(step) * element, 0, static_cast<size_t>(p.n) * element,
                                  static_cast<size_t>(p.m), context.stream));
  }
}

cublasLtEpilogue_t epilogue_of(const Product& p) {
  if (p.bias == nullptr) return CUBLASLT_EPILOGUE_DEFAULT;
  switch (p.activation) {
    case Activation::kRelu:
      return CUBLASLT_EPILOGUE_RELU_BIAS;
    case Activation::kGeluTanh:
      return p.z != nullptr ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_BIAS;
    default:
      return CUBLASLT_EPILOGUE_BIAS;
  }
}

}  // namespace

void multiply(const Context& context, const char* who, const Product& p) {
  if (try_multiply(context, who, p)) return;
  throw DeviceError(std::string(who) + ": cuBLASLt has no way to compute a product of [" + std::to_string(p.m) + ", " +
                    std::to_string(p.k) + "] and [" + std::to_string(p.k) + ", " + std::to_string(p.n) + "]");
}

bool try_multiply(const Context& context, const char* who, const Product& p) {
  if (p.m == 0 || p.n == 0 || p.batches == 0) return true;
  if (p.k == 0) {
    clear(context, p);
    return true;
  }
  uintptr_t addresses = reinterpret_cast<uintptr_t>(p.a.data) | reinterpret_cast<uintptr_t>(p.b.data) |
                        reinterpret_cast<uintptr_t>(p.c) | reinterpret_cast<uintptr_t>(p.bias) |
                        reinterpret_cast<uintptr_t>(p.z);
  addresses |= 256;
  Key key;
  std::memset(&key, 0, sizeof(key));
  key.m = p.m;
  key.n = p.n;
  key.k = p.k;
  key.batches = p.batches;
  const MatrixLayout a({p.a.rows, p.a.columns}, p.m, p.k);
  const MatrixLayout b({p.b.rows, p.b.columns}, p.k, p.n);
  key.a_transposed = a.by_columns ? 1 : 0;
  key.b_transposed = b.by_columns ? 1 : 0;
  key.a_step = a.step;
  key.b_step = b.step;
  key.c_step = p.c_rows > 0 ? p.c_rows : p.n;
  key.a_batch = p.a.batch;
  key.b_batch = p.b.batch;
  key.c_batch = p.c_batch;
  key.device = context.device;
  key.dtype = static_cast<int16_t>(p.dtype);
  key.c_dtype = static_cast<int16_t>(c_dtype(p));
  key.epilogue = static_cast<int32_t>(epilogue_of(p));
  key.accumulate = p.accumulate ? 1 : 0;
  key.alignment = static_cast<int32_t>(addresses & (~addresses + 1));

  Plans& all = plans();
  const std::lock_guard lock(all.mutex);
  auto known = all.known.find(key);
  if (known == all.known.end()) known = all.known.emplace(key, make_plan(context, key, p)).first;
  const Plan* plan = known->second.get();
  if (plan == nullptr) return false;
  set_addresses(*plan, p);
  const double wide[] = {p.alpha, p.accumulate ? 1.0 : 0.0};
  const float narrow[] = {static_cast<float>(wide[0]), static_cast<float>(wide[1])};
  const bool is_wide = p.dtype == DType::kFloat64;
  const void* alpha = is_wide ? static_cast<const void*>(wide) : narrow;
  const void* beta = is_wide ? static_cast<const void*>(wide + 1) : narrow + 1;
  const Scratch workspace(context, kWorkspace);
  const cublasStatus_t status =
      cublasLtMatmul(context.cublas, plan->operation, alpha, p.b.data, plan->a, p.a.data, plan->b, beta, p.c, plan->c,
                     p.c, plan->c, &plan->algorithm, workspace.data<void>(), kWorkspace, context.stream);
  if (status != CUBLAS_STATUS_SUCCESS) check(status, (std::string(who) + ": cublasLtMatmul").c_str());
  return true;
}

}  // namespace attune::cuda
