from phalanx import MPI as MPI
from phalanx import Rc as Rc
from phalanx import get_config as get_config
from phalanx import profile as profile

__version__: str
__all__: list[str]

rc: Rc

def get_include() -> str: ...
