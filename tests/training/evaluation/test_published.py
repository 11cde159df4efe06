"""The published rows are complete and consistent with one another."""

from training.evaluation.published import (
    ABLATIONS,
    FAILURES,
    TABLE_1,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_8,
    click_rows,
)


def row(rows, method, backbone, trained_on):
    (found,) = (
        r for r in rows if (r.method, r.backbone, r.trained_on) == (method, backbone, trained_on)
    )
    return found


def test_the_paper_s_own_rows():
    assert row(TABLE_1, "iCMFormer", "ViT-B", "COCO+LVIS").scores == {
        "GrabCut": {"NoC85": 1.42, "NoC90": 1.52},
        "Berkeley": {"NoC85": 1.40, "NoC90": 1.86},
        "SBD": {"NoC85": 3.29, "NoC90": 5.30},
        "DAVIS": {"NoC85": 3.40, "NoC90": 5.06},
    }
    assert len(TABLE_1) == 28
    assert len(TABLE_3) == 9
    assert len(TABLE_8) == 10


def test_numbers_a_source_does_not_give_are_absent():
    assert row(TABLE_1, "DIOS", "FCN", "PASCAL").scores == {
        "GrabCut": {"NoC90": 6.04},
        "Berkeley": {"NoC90": 8.65},
        "DAVIS": {"NoC90": 12.58},
    }


def test_table_8_repeats_the_default_rows_of_table_1():
    for backbone, blocks in [("ViT-B", 3), ("Swin-B", 4)]:
        default = row(TABLE_1, "iCMFormer", backbone, "SBD")
        ablation = row(TABLE_8, f"iCMFormer, {blocks} cross-modality blocks", backbone, ABLATIONS)
        assert ablation.scores == default.scores


def test_tables_4_and_5_end_with_rows_of_table_1():
    for ablation, backbone in [
        (TABLE_4[2], "ViT-B"),
        (TABLE_4[3], "Swin-B"),
        (TABLE_5[3], "ViT-B"),
    ]:
        default = row(TABLE_1, "iCMFormer", backbone, "SBD")
        assert ablation.scores["DAVIS"] == {"NoC90": default.scores["DAVIS"]["NoC90"]}
        assert all(
            scores["NoC90"] == default.scores[name]["NoC90"]
            for name, scores in ablation.scores.items()
        )


def test_more_iou_never_takes_fewer_clicks_nor_fails_less_often():
    for published in [*click_rows(), *FAILURES]:
        assert published.source
        for scores in published.scores.values():
            values = [scores[metric] for metric in sorted(scores)]
            assert values == sorted(values)
