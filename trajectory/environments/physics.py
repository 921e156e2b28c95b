"""Give today's MuJoCo the physics of MuJoCo 2.1.0, in which D4RL recorded and scored.

Two things changed since. Up to 2.1.0 a capsule (radius r, half-length h) had the mass and inertia of a cylinder
(radius r, half-length h + r/2); later versions use the capsule's own. And since 3.5 a contact margin acts as if
it were doubled.
"""

import mujoco
import numpy as np

MARGIN_DOUBLED_SINCE = (3, 5)


def restore_mujoco_210(model: mujoco.MjModel, xml_path: str) -> None:
    """Change `model`, compiled from `xml_path`, to move as MuJoCo 2.1.0 would move it."""
    cylinders = _compile_with_cylinders(model, xml_path)
    for inertial in ('body_mass', 'body_inertia', 'body_ipos', 'body_iquat'):
        getattr(model, inertial)[:] = getattr(cylinders, inertial)

    if tuple(int(part) for part in mujoco.__version__.split('.')[:2]) >= MARGIN_DOUBLED_SINCE:
        model.geom_margin[:] /= 2
    mujoco.mj_setConst(model, mujoco.MjData(model))  # refresh what follows from the masses


def _compile_with_cylinders(model, xml_path):
    """The model once more, each capsule's mass carried by the cylinder that MuJoCo 2.1.0 took for it."""
    spec = mujoco.MjSpec.from_file(xml_path)
    for index, geom in enumerate(list(spec.geoms)):
        if geom.type != mujoco.mjtGeom.mjGEOM_CAPSULE:
            continue
        radius, half_length = model.geom_size[index, :2]
        geom.type = mujoco.mjtGeom.mjGEOM_CYLINDER
        geom.fromto = np.full(6, np.nan)  # said below, as the compiler settled it
        geom.pos, geom.quat = model.geom_pos[index], model.geom_quat[index]
        geom.size = [radius, half_length + radius / 2, 0]
    return spec.compile()
