"""The errors of the old bottle service's route in its clients' language; the statuses are the one table's."""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import problem_of

PATHS = frozenset({"/classificar"})

# By the stable word of a problem in `service.errors`: those that can happen here, which a test holds.
SENTENCES: Mapping[str, str] = {
    "malformed-request": "A requisição não pôde ser entendida: envie uma imagem no campo multipart 'image'",
    "unknown-host": "O nome em Host não é deste serviço",
    "not-authorized": "As credenciais faltam ou estão erradas",
    "unknown-model": "O modelo que distingue garrafas abertas de fechadas não está carregado",
    "slow-client": "A requisição demorou demais para chegar",
    "body-too-large": "A requisição é grande demais",
    "image-too-large": "A imagem tem pixels demais",
    "unsupported-encoding": "A codificação da requisição não é aceita",
    "unsupported-image": "O tipo de imagem não é aceito: envie JPEG, PNG ou WebP",
    "undecodable-image": "A imagem está corrompida ou incompleta",
    "too-many-requests": "Requisições demais: tente de novo mais tarde",
    "client-left": "O cliente se desconectou",
    "overloaded": "O serviço está sobrecarregado: tente de novo em instantes",
    "draining": "O serviço está sendo encerrado",
    "deadline-exceeded": "O prazo da resposta passou",
    "internal-error": "Erro interno",
}
HTTP_SENTENCES: Mapping[int, str] = {
    405: "Método não permitido",
}


def sentence(error: BaseException) -> str:
    """What the caller may read about the error; never the exception's own text."""
    return SENTENCES[problem_of(error).kind]
